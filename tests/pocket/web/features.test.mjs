import assert from "node:assert/strict";
import { test } from "node:test";

import { choose, instructions } from "../../../src/pocketlm/pocket/web/features.js";

const all = { simd: true, relaxed: true, threads: true, isolated: true, cores: 8 };

test("node has vectors and threads", () => {
  const { simd, threads } = instructions();
  assert.ok(simd && threads);
});

test("the module follows what there is", () => {
  assert.deepEqual(choose(all), { variant: "relaxed-threads", threads: 4, single: "" });
  assert.equal(choose({ ...all, relaxed: false }).variant, "simd-threads");
  assert.equal(choose(all, { vectors: "simd" }).variant, "simd-threads");
  assert.throws(() => choose({ ...all, relaxed: false }, { vectors: "relaxed" }), { code: "argument" });
  assert.deepEqual(choose({ ...all, cores: 2 }).threads, 2);
  assert.deepEqual(choose(all, { threads: 3 }).threads, 3);
});

test("why there are no threads is said", () => {
  const reasons = [choose({ ...all, isolated: false }, { threads: 4 }), choose({ ...all, threads: false }), choose({ ...all, cores: 1 }), choose(all, { threads: 1 })];
  for (const { variant, threads, single } of reasons) {
    assert.equal(variant, "relaxed");
    assert.equal(threads, 1);
    assert.notEqual(single, "");
  }
  assert.match(reasons[0].single, /cross-origin isolated/);
});

test("without vectors nothing runs", () => {
  assert.throws(() => choose({ ...all, simd: false }), { name: "PocketError", code: "unsupported", message: /SIMD/ });
  assert.throws(() => choose(all, { threads: 0 }), { code: "argument" });
  assert.throws(() => choose(all, { threads: 1.5 }), { code: "argument" });
});
