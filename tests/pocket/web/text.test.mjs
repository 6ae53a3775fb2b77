import assert from "node:assert/strict";
import { test } from "node:test";

import { TextStream } from "../../../src/pocketlm/pocket/web/text.js";

// The text that is shown when `text` comes in pieces of `size`, and whether a stop string ended it.
function shown(text, stop, size) {
  const stream = new TextStream(stop);
  let all = "";
  for (let at = 0; at < text.length && !stream.stopped; at += size) {
    all += stream.push(text.slice(at, at + size));
    assert.ok(!stop.some((each) => all.includes(each)));
  }
  return [all + stream.finish(""), stream.stopped];
}

test("what is shown does not depend on how the text comes", () => {
  const cases = [
    ["one two three", ["two"], "one ", true],
    ["one two three", ["three", "two thr"], "one ", true], // complete first
    ["one two three", ["e tw", "two"], "on", true],
    ["aab", ["ab"], "a", true],
    ["one tw", ["two"], "one tw", false],
    ["ababac", ["abac"], "ab", true],
    ["nothing", [], "nothing", false],
  ];
  for (const [text, stop, expected, stopped] of cases) {
    for (let size = 1; size <= 3; ++size) assert.deepEqual(shown(text, stop, size), [expected, stopped], text);
  }
});

test("of stop strings that are complete at once the longer one counts", () => {
  const stream = new TextStream(["User:", "\nUser:"]);
  assert.equal(stream.push("hello\nUser: "), "hello");
  assert.ok(stream.stopped);
});

test("what may begin a stop string waits", () => {
  const stream = new TextStream(["\nUser:"]);
  assert.equal(stream.push("hello\nUs"), "hello");
  assert.equal(stream.push("eful"), "\nUseful");
  assert.equal(stream.finish("\n"), "\n");
});
