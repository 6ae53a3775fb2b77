// Which turns of a conversation still fit into the context, as chat/conversation.py has it: the oldest are left out,
// and a turn once left out stays so, that what follows is found in the cache again. Knows messages alone.

import { PocketError } from "./errors.js";

// Tokens kept free for an answer, and the largest part of the context that this may be.
const ROOM = 512;
const PART = 4;

/** How many tokens of a context a prompt leaves free for an answer of up to `maxTokens`. */
export const room = (context, maxTokens) => Math.min(maxTokens ?? ROOM, Math.max(Math.floor(context / PART), 1));

export class Fitting {
  #before = []; // the messages of the last conversation up to the first turn that was kept
  #dropped = 0; // its turns that were left out

  /**
   * The ids of the prompt, without as many of the oldest turns as it takes to have `window` tokens at most.
   *
   * The system prompt and the last turn always stay: a PocketError "context" where these alone are too long.
   * @param {{ role: string, content: string }[]} messages
   * @param {(messages: object[]) => Promise<number[]>} tokenize
   * @returns {Promise<{ tokens: number[], dropped: number }>}
   */
  async fit(messages, window, tokenize) {
    const system = messages.filter((message, at) => at === 0 && message.role === "system");
    const said = messages.slice(system.length);
    const turns = said.flatMap((message, at) => (message.role === "user" ? [at] : []));
    const from = (turn) => [...system, ...said.slice(turn > 0 ? turns[turn] : 0)];
    let low = this.#before.every((text, at) => said[at]?.content === text) && this.#dropped < turns.length ? this.#dropped : 0;
    let tokens = await tokenize(from(low));
    let high = low;
    if (tokens.length > window) {
      high = Math.max(turns.length - 1, low);
      if (low < high) tokens = await tokenize(from(high));
      if (tokens.length > window) {
        throw new PocketError("context", `The prompt has ${tokens.length} tokens, and the context has room for ${window}. Shorten the message, or begin a new conversation.`);
      }
      low += 1;
    }
    while (low < high) {
      // The fewest turns: more turns are never fewer tokens.
      const middle = Math.floor((low + high) / 2);
      const shorter = await tokenize(from(middle));
      if (shorter.length <= window) {
        high = middle;
        tokens = shorter;
      } else {
        low = middle + 1;
      }
    }
    this.#dropped = high;
    this.#before = said.slice(0, (turns[high] ?? -1) + 1).map((message) => message.content);
    return { tokens, dropped: high };
  }
}
