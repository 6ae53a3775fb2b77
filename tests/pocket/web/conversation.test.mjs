import assert from "node:assert/strict";
import { test } from "node:test";

import { Fitting, room } from "../../../src/pocketlm/pocket/web/conversation.js";

const say = (role, content) => ({ role, content });
// Here a character is a token.
const tokenize = async (messages) => [...messages.map((message) => message.content).join("")];
const turns = (count) =>
  Array.from({ length: count }, (_, i) => [say("user", `question ${i}`), say("assistant", `answer ${i}`)]).flat().slice(0, -1);

test("room for an answer is as on the desktop", () => {
  assert.equal(room(4096, null), 512);
  assert.equal(room(4096, 100), 100);
  assert.equal(room(1024, 5000), 256);
  assert.equal(room(2, null), 1);
});

test("all that fits stays", async () => {
  const { tokens, dropped } = await new Fitting().fit(turns(3), 1000, tokenize);
  assert.equal(dropped, 0);
  assert.equal(tokens.length, (await tokenize(turns(3))).length);
});

test("as few of the oldest turns go as it takes, and the system prompt stays", async () => {
  const messages = [say("system", "be brief"), ...turns(9)];
  for (let window = 40; window < 200; window += 7) {
    const { tokens, dropped } = await new Fitting().fit(messages, window, tokenize);
    assert.ok(tokens.length <= window);
    assert.ok(tokens.join("").startsWith("be brief"));
    if (dropped > 0) {
      const more = [messages[0], ...messages.slice(1 + 2 * (dropped - 1))];
      assert.ok((await tokenize(more)).length > window);
    }
  }
});

test("a turn once left out stays so in the same conversation alone", async () => {
  const fitting = new Fitting();
  const { dropped } = await fitting.fit(turns(9), 60, tokenize);
  assert.ok(dropped > 0);
  assert.equal((await fitting.fit(turns(9), 1000, tokenize)).dropped, dropped);
  assert.equal((await fitting.fit([say("user", "another"), ...turns(9).slice(1)], 1000, tokenize)).dropped, 0);
});

test("a last turn that is too long is an error with both numbers", async () => {
  const messages = [...turns(4), say("assistant", "a"), say("user", "x".repeat(80))];
  await assert.rejects(new Fitting().fit(messages, 60, tokenize), { code: "context", message: /80 tokens.* room for 60/ });
  await assert.rejects(new Fitting().fit([say("user", "x".repeat(80))], 60, tokenize), { code: "context" });
});
