import assert from "node:assert/strict";
import { test } from "node:test";

import { Model } from "../../../src/pocketlm/pocket/web/model.js";

test("a file that 32-bit addresses do not reach is refused before anything is read", () => {
  const load = () => Model.load(null, 5e9, { threads: 1 });
  assert.throws(load, { code: "memory", message: /5\.0 GB.*4\.3 GB/ });
});
