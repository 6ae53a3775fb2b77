// The engine for a page: models in the browser's storage, and answers of the one that is loaded.
//
// Knows two workers and what may be asked of them: `store.js` fetches and keeps files, `engine.js` runs a model.
// Does nothing itself that takes time. Workers are modules beside this one, each a file of its own when bundled:
// store.js, engine.js, and those that engine.js starts, thread.js and renderer.js.

import { Remote } from "./calls.js";
import { PocketError } from "./errors.js";

export { PocketError, inWords } from "./errors.js";

/** How talk is sampled as long as nothing is said, as on the desktop. Without any of it an answer is greedy. */
export const CHAT_SAMPLING = { temperature: 0.3, top_p: 0.9, frequency_penalty: 0.2 };

/**
 * A model that can be fetched.
 * @typedef {Object} Entry
 * @property {string} name
 * @property {string} title
 * @property {string} file  where it is, as seen from models.json
 * @property {number} bytes
 * @property {string} sha256  of the whole file, in hexadecimal digits
 * @property {number} piece_bytes  all pieces but the last have so many
 * @property {string[]} pieces  the SHA-256 of each
 * @property {boolean} [split]  each piece is a file of its own: `${file}.00000`, `${file}.00001`, …
 */

/**
 * A model that the browser keeps, whole or in part.
 * @typedef {Object} Stored
 * @property {string} name
 * @property {string} title
 * @property {number} bytes
 * @property {number} have  how many of them are here and checked
 * @property {boolean} complete
 * @property {string} sha256  other than the catalogue's: the server has another file by now
 */

/**
 * What runs. More than these: see pocketlm_facts in pocketlm.h.
 * @typedef {Object} Facts
 * @property {string} name  the model's, as it was asked for
 * @property {string} architecture
 * @property {number} context  most tokens of a conversation
 * @property {string} chat_template  as the file has it; "" if it has none
 * @property {string} note  a word for the user where the template is a guess, else ""
 * @property {number} threads
 * @property {string} instruction_set
 * @property {string} variant  which of the modules runs: "relaxed-threads", …
 * @property {string} single  why there are no threads, for people; "" where there are
 * @property {number} memory_bytes  of the engine's memory once the model is loaded
 * @property {number} seconds  that loading took
 */

/**
 * A turn. `tokens` are what the engine gave for an answer: they are used as they are, which keeps what was
 * computed; leave them out where the content was changed, and for another model.
 * @typedef {{ role: "system" | "user" | "assistant", content: string, tokens?: number[] }} Message
 */

/**
 * How an answer is chosen; everything has the desktop's meaning, range and default.
 * @typedef {Object} Sampling
 * @property {number} [temperature]  0, the default: greedy
 * @property {number} [top_k]
 * @property {number} [top_p]
 * @property {number} [min_p]
 * @property {number} [repetition_penalty]
 * @property {number} [presence_penalty]
 * @property {number} [frequency_penalty]
 * @property {number | bigint} [seed]  the same seed, the same text
 * @property {number} [max_tokens]  none: to the end of the context
 * @property {string[]} [stop]  strings that end an answer, and are no part of it
 * @property {string} [system]  a system prompt, put before the messages
 * @property {(done: number, total: number) => void} [onProgress]  how much of the prompt is read, in tokens
 */

/**
 * How an answer ended.
 * @typedef {Object} Figures
 * @property {"stop" | "length" | "cancelled" | "context"} reason  "length": max_tokens; "context": it is full
 * @property {number[]} tokens  of the answer, for its message; null where a stop string cut the text
 * @property {number} prompt_tokens
 * @property {number} cached_tokens  how many of these were known from before
 * @property {number} answer_tokens
 * @property {number} dropped  how many of the oldest turns were left out, for the context is full
 * @property {number} prompt_seconds  reading the prompt
 * @property {number} seconds  writing the answer
 */

export class Pocket {
  #base;
  #key;
  #store = null;
  #engine = null;
  #loaded = null;
  #busy = false;

  /**
   * @param {{ base?: string | URL, key?: string | null }} [options]  `base`: where the workers, the modules and
   *   models.json are, if not beside this script. `key`: of a server that wants one for models.
   */
  constructor({ base = new URL("./", import.meta.url), key = null } = {}) {
    this.#key = key;
    this.#base = new URL(base, globalThis.location?.href);
  }

  /**
   * The models that the server offers. Without a network: a PocketError "network", unless a service worker keeps it.
   * @returns {Promise<Entry[]>}
   */
  async catalogue() {
    const where = new URL("models.json", this.#base);
    let response;
    try {
      response = await fetch(where, { headers: this.#key ? { Authorization: `Bearer ${this.#key}` } : {}, credentials: "omit" });
    } catch {
      throw new PocketError("network", "The list of models cannot be fetched: the server does not answer. Models that are stored here still run.");
    }
    if (response.status === 401) throw new PocketError("key", "The server wants its key.");
    const entries = response.ok ? await response.json().catch(() => null) : null;
    if (!Array.isArray(entries)) {
      throw new PocketError("network", `The list of models cannot be read (${where.pathname}, status ${response.status}).`);
    }
    return entries;
  }

  /**
   * The models that this browser keeps.
   * @returns {Promise<Stored[]>}
   */
  stored() {
    return this.#files().call("stored");
  }

  /**
   * Fetch a model, or go on where it was left. What has arrived stays, however this ends.
   *
   * Rejects with a PocketError, or with an AbortError where `signal` ended it. While a newer file of the same name
   * arrives, the old one stays and can be loaded.
   * @param {Entry} entry
   * @param {{ onProgress?: (have: number, total: number) => void, signal?: AbortSignal }} [options]
   */
  async download(entry, { onProgress = () => {}, signal } = {}) {
    // Asked here, as workers may not: else the browser may clear the model away when its disk fills.
    // Nothing waits for it, as some browsers ask the user.
    navigator.storage?.persist?.().catch(() => {});
    signal?.throwIfAborted();
    const address = new URL(entry.file, new URL("models.json", this.#base)).href;
    await this.#files().call("download", [entry, address, this.#key], { onEvent: ([have, total]) => onProgress(have, total), signal });
    signal?.throwIfAborted();
  }

  /**
   * Load a stored model in the place of the one that was. Its memory is given back first.
   * @param {string} name
   * @param {{
   *   threads?: number, vectors?: "simd" | "relaxed", cacheType?: string, onProgress?: (have: number, total: number) => void,
   * }} [options]  `threads`: 1 for none beside the engine's own. `cacheType`: as the desktop's `--cache-type`. By default
   *   what suits the device.
   * @returns {Promise<Facts>}
   */
  async load(name, { onProgress = () => {}, ...wanted } = {}) {
    this.unload();
    const engine = (this.#engine = new Remote(new URL("engine.js", this.#base)));
    const facts = await engine.call("load", [name, wanted], { onEvent: ([have, total]) => onProgress(have, total) });
    this.#loaded = facts;
    return facts;
  }

  /** What is loaded; null where nothing is. @returns {Facts | null} */
  get loaded() {
    return this.#engine?.alive ? this.#loaded : null;
  }

  /** Give the memory of the loaded model back. An answer that is being written ends with an error. */
  unload() {
    this.#engine?.terminate(new PocketError("missing", "The model was unloaded."));
    this.#engine = null;
    this.#loaded = null;
  }

  /**
   * Answer a conversation, piece by piece; one answer at a time. Leaving the loop early ends the answer.
   *
   *     const answer = pocket.chat(messages, CHAT_SAMPLING, signal);
   *     for (let next; !(next = await answer.next()).done; ) show(next.value);   // then next.value is the Figures
   *
   * A `signal` that aborts ends it after the token under way, and it returns as usual with "cancelled".
   * @param {Message[]} messages
   * @param {Sampling} [options]
   * @param {AbortSignal} [signal]
   * @returns {AsyncGenerator<string, Figures>}
   */
  async *chat(messages, { onProgress = () => {}, ...options } = {}, signal) {
    if (!this.loaded) throw new PocketError("missing", "No model is loaded.");
    if (this.#busy) throw new PocketError("busy", "An answer is being written; wait for it, or stop it.");
    const left = new AbortController();
    let text = "";
    let over = false;
    let wake = () => {};
    const onEvent = (event) => {
      if (event.text !== undefined) text += event.text;
      else onProgress(...event.progress);
      wake();
    };
    this.#busy = true;
    const signals = signal ? AbortSignal.any([signal, left.signal]) : left.signal;
    const answer = this.#engine.call("chat", [messages, options], { onEvent, signal: signals });
    const end = () => {
      over = true;
      this.#busy = false;
      wake();
    };
    answer.then(end, end);
    try {
      for (;;) {
        if (text) {
          const piece = text;
          text = "";
          yield piece;
        } else if (over) {
          return await answer;
        } else {
          await new Promise((resolve) => (wake = resolve));
        }
      }
    } finally {
      left.abort();
      await answer.catch(() => {}); // the next one may begin when this returns
    }
  }

  /** The token ids of a text, in which nothing is a control token. @returns {Promise<number[]>} */
  async tokenize(text) {
    if (!this.loaded) throw new PocketError("missing", "No model is loaded.");
    return this.#engine.call("tokenize", [text]);
  }

  /** The token ids that a conversation is sent as, if all of it fits. @returns {Promise<number[]>} */
  async promptTokens(messages) {
    if (!this.loaded) throw new PocketError("missing", "No model is loaded.");
    return this.#engine.call("prompt", [messages]);
  }

  /** Remove a stored model, whole or in part. One that is loaded stays so until another is. */
  remove(name) {
    return this.#files().call("remove", [name]);
  }

  /**
   * What this page's storage holds, and about how much it may.
   * @returns {Promise<{ usage: number, quota: number }>}
   */
  async usage() {
    const { usage = 0, quota = 0 } = (await navigator.storage?.estimate?.()) ?? {};
    return { usage, quota };
  }

  /** End everything. */
  close() {
    this.unload();
    this.#store?.terminate();
    this.#store = null;
  }

  #files() {
    if (!this.#store?.alive) this.#store = new Remote(new URL("store.js", this.#base));
    return this.#store;
  }
}
