// Downloads from a real server that behaves badly.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { after, before, beforeEach, test } from "node:test";

import { fetchPieces } from "../../../src/pocketlm/pocket/web/download.js";

const PIECE = 1000;
const file = Buffer.from(Array.from({ length: 4321 }, (_, i) => (i * 7919) % 251));
const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");
const sha256 = async (bytes) => hash(bytes);
const parts = Array.from({ length: 5 }, (_, i) => file.subarray(i * PIECE, (i + 1) * PIECE));
const entry = { name: "m", title: "Model", file: "m.gguf", bytes: file.length, sha256: hash(file), piece_bytes: PIECE, pieces: parts.map(hash) };

let server;
let address;
let asked = []; // the Range of each request
let behave = () => ({}); // how the server answers the request of that number

before(async () => {
  server = createServer((request, response) => {
    const how = behave(asked.length, request);
    asked.push(request.headers.range ?? request.url);
    const begin = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const whole = how.file ?? (request.url.startsWith("/parts") ? parts[Number(request.url.slice(-5))] : file);
    const ranged = request.headers.range && !how.noRanges;
    if (how.status || begin >= whole.length) return response.writeHead(how.status ?? 416).end();
    const body = Buffer.from(ranged ? whole.subarray(begin) : whole);
    if (how.spoil !== undefined && how.spoil >= (ranged ? begin : 0)) body[how.spoil - (ranged ? begin : 0)] ^= 1;
    const headers = { "Content-Length": body.length };
    if (ranged) headers["Content-Range"] = `bytes ${begin}-${whole.length - 1}/${whole.length}`;
    response.writeHead(ranged ? 206 : 200, headers);
    if (how.cut === undefined) return response.end(body);
    response.write(body.subarray(0, how.cut), () => setTimeout(() => response.destroy(), 20));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  address = `http://127.0.0.1:${server.address().port}/m.gguf`;
});
after(() => server.close());
beforeEach(() => {
  asked = [];
  behave = () => ({});
});

// What arrives: the bytes that are kept, from piece `from` on, also where it fails.
async function download({ from = 0, ...options } = {}, what = entry, where = address) {
  const kept = [];
  const pauses = [];
  const pause = async (milliseconds) => pauses.push(milliseconds);
  let error = null;
  try {
    await fetchPieces(what, where, { from, sha256, keep: async (piece) => kept.push(Buffer.from(piece)), pause, ...options });
  } catch (thrown) {
    error = thrown;
  }
  return { kept: Buffer.concat(kept), count: kept.length, error, pauses };
}

test("a file arrives whole, by one request", async () => {
  const { kept, error } = await download();
  assert.equal(error, null);
  assert.ok(kept.equals(file));
  assert.deepEqual(asked, ["bytes=0-"]);
});

test("it goes on where it was left", async () => {
  const { kept } = await download({ from: 3 });
  assert.ok(kept.equals(file.subarray(3000)));
  assert.deepEqual(asked, ["bytes=3000-"]);
});

test("a server without ranges sends all of it again", async () => {
  behave = () => ({ noRanges: true });
  const { kept, error } = await download({ from: 3 });
  assert.equal(error, null);
  assert.ok(kept.equals(file.subarray(3000)));
});

test("a connection that breaks is made again, from the last whole piece", async () => {
  behave = (number) => (number < 3 ? { cut: 1500 } : {});
  const { kept, error } = await download();
  assert.equal(error, null);
  assert.ok(kept.equals(file));
  assert.deepEqual(asked, ["bytes=0-", "bytes=1000-", "bytes=2000-", "bytes=3000-"]);
});

test("one that breaks without end is told, with what is kept", async () => {
  behave = (number) => (number === 0 ? { cut: 2500 } : { status: 503 });
  const { count, error, pauses } = await download();
  assert.equal(count, 2);
  assert.equal(error.code, "network");
  assert.match(error.message, /40 %.*status 503.*try again/);
  assert.deepEqual(pauses, [300, 600, 1200, 2400]);
});

test("a server that is gone is told", async () => {
  const { error } = await download({}, entry, "http://127.0.0.1:9/m.gguf");
  assert.equal(error.code, "network");
  assert.match(error.message, /does not answer/);
});

test("a damaged piece is fetched again", async () => {
  behave = (number) => (number < 2 ? { spoil: 2345 } : {});
  const { kept, error } = await download();
  assert.equal(error, null);
  assert.ok(kept.equals(file));
  assert.deepEqual(asked, ["bytes=0-", "bytes=2000-", "bytes=2000-"]);
});

test("one that stays damaged is never kept, and is told", async () => {
  behave = () => ({ spoil: 2345 });
  const { count, error } = await download();
  assert.equal(count, 2);
  assert.equal(error.code, "damaged");
  assert.match(error.message, /piece 3 of 5/);
});

test("a file that changed on the server is told at once", async () => {
  behave = () => ({ file: Buffer.concat([file, file]) });
  const longer = await download({ from: 1 });
  assert.equal(longer.error.code, "damaged");
  assert.match(longer.error.message, /changed.*8642 bytes, not 4321/);
  behave = () => ({ file: Buffer.concat([file, file]), noRanges: true });
  const whole = await download();
  assert.match(whole.error.message, /changed.*longer/);
  behave = () => ({ file: file.subarray(0, 2000) });
  const shorter = await download({ from: 3 });
  assert.match(shorter.error.message, /changed.*shorter/);
  assert.equal(asked.length, 3);
});

test("a file that is gone, and a key that is wanted, are told at once", async () => {
  behave = () => ({ status: 404 });
  assert.match((await download()).error.message, /no file of Model any more/);
  behave = (_, request) => (request.headers.authorization === "Bearer secret" ? {} : { status: 401 });
  assert.equal((await download()).error.code, "key");
  assert.equal((await download({ key: "secret" })).error, null);
});

test("files in parts are fetched part by part", async () => {
  const split = { ...entry, split: true };
  const where = address.replace("m.gguf", "parts");
  behave = (number) => (number === 1 ? { cut: 300 } : {});
  const { kept, error } = await download({ from: 1 }, split, where);
  assert.equal(error, null);
  assert.ok(kept.equals(file.subarray(1000)));
  assert.deepEqual(asked, ["/parts.00001", "/parts.00002", "/parts.00002", "/parts.00003", "/parts.00004"]);
});

test("a signal ends it with its own reason", async () => {
  const controller = new AbortController();
  const keep = async () => controller.abort(new Error("enough"));
  const { error } = await download({ signal: controller.signal, keep });
  assert.equal(error.message, "enough");
});

test("how much is here is told, never less than before", async () => {
  const told = [];
  await download({ from: 2, arrived: (bytes) => told.push(bytes) });
  assert.equal(told.at(-1), file.length);
  assert.ok(told.every((bytes, at) => bytes > 2000 && (at === 0 || bytes >= told[at - 1])));
});
