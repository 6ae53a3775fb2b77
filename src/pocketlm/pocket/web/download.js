// A file that arrives in pieces, each checked by its SHA-256, over a connection that breaks now and then.
// Knows HTTP and hashes; not where pieces are kept.

import { PocketError } from "./errors.js";

const ATTEMPTS = 5; // without a single piece in between
const FIRST_PAUSE_MS = 300; // after a failure; twice as long after each next one

/**
 * Fetch the pieces of a file from number `from` on; each goes to `keep`, checked, in order.
 *
 * Throws a PocketError, the reason of `signal` where that ended it, or what `keep` throws.
 * @param {import("./client.js").Entry} entry
 * @param {string} address
 * @param {{
 *   from: number, sha256: (bytes: Uint8Array) => Promise<string>, keep: (piece: Uint8Array) => Promise<void>,
 *   arrived?: (bytes: number) => void, key?: string | null, signal?: AbortSignal,
 *   pause?: (milliseconds: number, signal?: AbortSignal) => Promise<void>,
 * }} options  `arrived` is told how many bytes are here, unchecked ones too
 */
export async function fetchPieces(entry, address, { from, sha256, keep, arrived = () => {}, key = null, signal, pause = wait }) {
  let next = from;
  let failures = 0;
  const source = entry.split ? partFiles : ranges;
  while (next < entry.pieces.length) {
    signal?.throwIfAborted();
    try {
      for await (const piece of source(entry, address, next, { headers: headers(key), signal, arrived })) {
        if ((await sha256(piece)) !== entry.pieces[next]) throw new Damage(next);
        await keep(piece);
        next += 1;
        failures = 0;
        signal?.throwIfAborted();
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof Broken)) throw error;
      failures += 1;
      if (failures === ATTEMPTS) throw error.inWords(entry, next);
      await pause(FIRST_PAUSE_MS * 2 ** (failures - 1), signal);
    }
  }
}

/** Something that may be better the next time. */
class Broken extends Error {
  inWords(entry, next) {
    const percent = Math.floor((100 * next) / entry.pieces.length);
    return new PocketError("network", `The download of ${entry.title} broke off at ${percent} % (${this.message}). What has arrived is kept: try again to go on from there.`);
  }
}

class Damage extends Broken {
  constructor(piece) {
    super(`piece ${piece + 1} is damaged`);
    this.piece = piece;
  }

  inWords(entry) {
    const which = `piece ${this.piece + 1} of ${entry.pieces.length}`;
    return new PocketError("damaged", `The file of ${entry.title} is not the one that the list promises: ${which} arrived damaged ${ATTEMPTS} times. It may have changed on the server: load the page again. The pieces before it are kept.`);
  }
}

const changed = (entry, what) =>
  new PocketError("damaged", `The file of ${entry.title} has changed on the server (${what}). Load the page again, and download the new one. What is stored stays.`);

const headers = (key) => (key ? { Authorization: `Bearer ${key}` } : {});

// Whole pieces from one answer, beginning with piece `first`.
async function* ranges(entry, address, first, { headers, signal, arrived }) {
  const start = first * entry.piece_bytes;
  const response = await request(address, { headers: { ...headers, Range: `bytes=${start}-` }, signal }, entry);
  let skip = start;
  if (response.status === 206) {
    const [, begin, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get("Content-Range") ?? "") ?? [];
    if (total !== undefined && total !== "*" && Number(total) !== entry.bytes) throw changed(entry, `it has ${total} bytes, not ${entry.bytes}`);
    if (begin !== undefined && Number(begin) !== start) throw new Broken("the server sent another part than was asked for");
    skip = 0;
  }
  // Else the server knows no ranges and sends all of it: what is here already is passed over.
  let offset = start;
  let piece = null;
  let filled = 0;
  for await (let chunk of chunks(response)) {
    const passed = Math.min(skip, chunk.length);
    skip -= passed;
    chunk = chunk.subarray(passed);
    while (chunk.length) {
      if (offset === entry.bytes) throw changed(entry, `it is longer than ${entry.bytes} bytes`);
      piece ??= new Uint8Array(Math.min(entry.piece_bytes, entry.bytes - offset));
      const taken = chunk.subarray(0, piece.length - filled);
      piece.set(taken, filled);
      filled += taken.length;
      offset += taken.length;
      chunk = chunk.subarray(taken.length);
      arrived(offset);
      if (filled === piece.length) {
        const whole = piece;
        piece = null;
        filled = 0;
        yield whole;
      }
    }
  }
  if (offset < entry.bytes) throw new Broken("the connection ended early");
}

// Each piece is a file of its own: for servers that limit the size of files or know no ranges.
async function* partFiles(entry, address, first, { headers, signal, arrived }) {
  for (let i = first; i < entry.pieces.length; ++i) {
    const start = i * entry.piece_bytes;
    const piece = new Uint8Array(Math.min(entry.piece_bytes, entry.bytes - start));
    const response = await request(`${address}.${String(i).padStart(5, "0")}`, { headers, signal }, entry);
    let filled = 0;
    for await (const chunk of chunks(response)) {
      if (filled + chunk.length > piece.length) throw changed(entry, `piece ${i + 1} is longer than it was`);
      piece.set(chunk, filled);
      filled += chunk.length;
      arrived(start + filled);
    }
    if (filled < piece.length) throw new Broken("the connection ended early");
    yield piece;
  }
}

async function request(address, options, entry) {
  let response;
  try {
    // The browser's cache is no place for files of this size.
    response = await fetch(address, { ...options, cache: "no-store", credentials: "omit" });
  } catch (error) {
    throw new Broken("the server does not answer");
  }
  if (response.ok) return response;
  await response.body?.cancel();
  if (response.status === 401) throw new PocketError("key", "The server wants its key.");
  if (response.status === 416) throw changed(entry, `it is shorter than ${entry.bytes} bytes`);
  if (response.status === 404 || response.status === 410) {
    throw new PocketError("network", `The server has no file of ${entry.title} any more (status ${response.status}). Load the page again. What has arrived is kept.`);
  }
  throw new Broken(`the server answered with status ${response.status}`);
}

async function* chunks(response) {
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(() => {
        throw new Broken("the connection broke");
      });
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function wait(milliseconds, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", resolve, { once: true });
  });
}
