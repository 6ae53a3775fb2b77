import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Facts, ModelOptions, Sampling } from "../../../src/pocketlm/pocket/web/structs.js";

const header = readFileSync(new URL("../../../src/pocketlm/pocket/pocketlm.h", import.meta.url), "utf8");
const TYPES = { size_t: "u32", int32_t: "i32", int64_t: "i64", uint64_t: "u64", double: "f64" };

// The fields that the header declares, as a 32-bit module has them.
function declared(name) {
  const [, body] = new RegExp(`typedef struct ${name} \\{(.*?)\\} ${name};`, "s").exec(header);
  const plain = body.replace(/\/\*.*?\*\//gs, "");
  return [...plain.matchAll(/(?:const )?(\w+)(\*?) (\w+);/g)].map(([, type, star, field]) => [field, star ? "pointer" : TYPES[type]]);
}

for (const [name, struct] of Object.entries({ pocketlm_model_options: ModelOptions, pocketlm_facts: Facts, pocketlm_sampling: Sampling })) {
  test(`${name} is as the header has it`, () => {
    assert.deepEqual(Object.entries(struct.fields), declared(name));
  });
}

test("what is written is read", () => {
  const view = new DataView(new ArrayBuffer(Sampling.size + 8));
  const values = { temperature: 0.5, top_k: 40, top_p: 0.9, has_seed: 1, seed: 2n ** 53n - 1n, bias_count: 3 };
  Sampling.write(view, 8, values);
  const read = Sampling.read(view, 8);
  for (const [name, value] of Object.entries(values)) assert.equal(read[name], Number(value));
  assert.equal(read.size, Sampling.size);
  assert.equal(read.min_p, 0);
  assert.equal(Sampling.offsets.seed % 8, 0);
});
