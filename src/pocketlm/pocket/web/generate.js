// An answer: the prompt is read, then token by token chosen and told as text, until it ends. The same tokens and the
// same ends as on the desktop. Knows a model by its session, sampler and detokenizer; not where prompts come from.

import { PocketError } from "./errors.js";
import { TextStream } from "./text.js";

const CHUNK = 64; // tokens of a prompt in one step: between two of them the answer can be stopped

const DEFAULTS = {
  temperature: 0, top_k: 0, top_p: 1, min_p: 0, repetition_penalty: 1, presence_penalty: 0, frequency_penalty: 0,
};

/**
 * What the caller said of sampling, checked as far as the library does not.
 * @param {import("./client.js").Sampling} options
 */
export function readOptions({ max_tokens = null, stop = [], seed = null, ...given }) {
  const unknown = Object.keys(given).find((name) => !(name in DEFAULTS));
  if (unknown) {
    throw new PocketError("argument", `There is no sampling parameter "${unknown}"; there are ${[...Object.keys(DEFAULTS), "seed", "max_tokens", "stop"].join(", ")}.`);
  }
  const said = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null && value !== undefined));
  for (const [name, value] of Object.entries(said)) {
    if (typeof value !== "number" || !Number.isFinite(value)) throw wrong(name, value, "a number");
  }
  if (!Number.isSafeInteger(said.top_k ?? 0)) throw wrong("top_k", said.top_k, "a whole number of at least 0");
  if (max_tokens !== null && !(Number.isSafeInteger(max_tokens) && max_tokens >= 1)) throw wrong("max_tokens", max_tokens, "a whole number of at least 1");
  if (!Array.isArray(stop) || !stop.every((text) => typeof text === "string" && text !== "")) {
    throw new PocketError("argument", "stop must be a list of texts that are not empty.");
  }
  const sampling = { ...DEFAULTS, ...said };
  if (seed !== null) Object.assign(sampling, { has_seed: 1, seed: readSeed(seed) });
  return { sampling, maxTokens: max_tokens, stop };
}

function readSeed(seed) {
  const whole = typeof seed === "bigint" || Number.isSafeInteger(seed);
  if (!whole || seed < 0 || seed >= 2n ** 64n) throw wrong("seed", seed, "a whole number from 0 up to 2^64 (beyond 2^53 as a BigInt)");
  return BigInt(seed);
}

const wrong = (name, value, expected) => new PocketError("argument", `${name} is ${value}; it must be ${expected}.`);

/**
 * Answer a prompt.
 *
 * @param {import("./model.js").Model} model
 * @param {number[]} prompt  token ids
 * @param {ReturnType<typeof readOptions>} options
 * @param {{
 *   isEnd: (token: number) => boolean, signal: AbortSignal,
 *   tell: (event: { text: string } | { progress: [number, number] }) => void,
 * }} how
 * @returns {Promise<Omit<import("./client.js").Figures, "dropped">>}
 */
export async function generate(model, prompt, { sampling, maxTokens, stop }, { isEnd, signal, tell }) {
  const room = model.facts.context - prompt.length; // the caller left some
  const limit = Math.min(room, maxTokens ?? room);
  const sampler = model.sampler(sampling, prompt);
  const detokenizer = model.tokenizer.detokenizer(prompt.at(-1));
  const stream = new TextStream(stop);
  const show = (text) => text && tell({ text });
  const tokens = [];
  const began = performance.now();
  let read = began; // when the prompt was
  let reason = null;
  const cached = model.rewind(prompt);
  try {
    for (let done = cached; done < prompt.length && !signal.aborted; ) {
      const chunk = prompt.slice(done, done + CHUNK);
      model.step(chunk);
      done += chunk.length;
      tell({ progress: [done, prompt.length] });
      await breath();
    }
    read = performance.now();
    while (reason === null) {
      if (signal.aborted) {
        reason = "cancelled";
        break;
      }
      const token = sampler.next();
      if (isEnd(token)) {
        reason = "stop";
        break;
      }
      tokens.push(token);
      show(stream.push(detokenizer.push(token)));
      if (stream.stopped) reason = "stop";
      else if (tokens.length === limit) reason = limit === maxTokens ? "length" : "context";
      else {
        model.step([token]);
        await breath();
      }
    }
    show(stream.finish(detokenizer.flush()));
  } finally {
    sampler.close();
    detokenizer.close();
  }
  return {
    reason,
    tokens: stream.stopped ? null : tokens,
    prompt_tokens: prompt.length,
    cached_tokens: cached,
    answer_tokens: tokens.length,
    prompt_seconds: (read - began) / 1000,
    seconds: (performance.now() - read) / 1000,
  };
}

// Let messages in. A timer would wait for milliseconds; a message to oneself comes right after those that are there.
const channel = new MessageChannel();
const breath = () =>
  new Promise((resolve) => {
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(null);
  });
