// A loaded model: its facts, its tokenizer, and the one text in its cache. The C API as objects of JavaScript.
// Knows no chat: prompts are ids here.

import { PocketError, inWords } from "./errors.js";
import { Facts, ModelOptions, Sampling } from "./structs.js";

const MEMORY = 2 ** 32; // that 32-bit addresses reach
const LEAST_REST = 64 << 20; // for what is no weight

export class Model {
  #runtime;
  #model;
  #session;
  #tokens = []; // in the session

  constructor(runtime, model) {
    this.#runtime = runtime;
    this.#model = model;
    this.#session = runtime.make("pocketlm_session_new", model, 0);
    this.facts = this.#readFacts();
    this.tokenizer = new Tokenizer(runtime, model, this.facts);
  }

  /**
   * The GGUF file of so many bytes that the runtime reads.
   *
   * Throws a PocketError: "model" for one that cannot be run, "memory" for one that is too large.
   */
  static load(runtime, bytes, { threads, cacheType = "q8" }) {
    if (bytes > MEMORY - LEAST_REST) {
      throw new PocketError("memory", `The file has ${inWords(bytes)}, and a page's program reaches ${inWords(MEMORY)} in all.`);
    }
    return runtime.withText(cacheType, (cache_type) =>
      runtime.withBytes(ModelOptions.size, (options) => {
        ModelOptions.write(runtime.view, options, { threads, cache_type });
        const model = runtime.call("pocketlm_web_load", bytes, options) >>> 0;
        if (model === 0) throw runtime.failure("model");
        return new Model(runtime, model);
      }),
    );
  }

  /** Make the cache hold the beginning that a prompt has in common with it, but for the last token: its length. */
  rewind(prompt) {
    let length = 0;
    while (length < prompt.length - 1 && this.#tokens[length] === prompt[length]) length += 1;
    if (length < this.#tokens.length) {
      this.#runtime.check("pocketlm_session_rewind", this.#session, length);
      this.#tokens.length = length;
    }
    return length;
  }

  /** Process tokens after those that there are. */
  step(tokens) {
    this.#runtime.withNumbers(tokens, (address, count) => this.#runtime.check("pocketlm_session_step", this.#session, address, count));
    this.#tokens.push(...tokens);
  }

  /** What chooses the tokens of one answer to `prompt`. Close it afterwards. */
  sampler(sampling, prompt) {
    const runtime = this.#runtime;
    const sampler = runtime.withBytes(Sampling.size, (address) =>
      runtime.withNumbers(prompt, (tokens, count) => {
        Sampling.write(runtime.view, address, sampling);
        return runtime.make("pocketlm_sampler_new", this.#model, address, tokens, count);
      }),
    );
    return {
      /** The next token, by the session's logits. */
      next: () =>
        runtime.withBytes(4, (to) => {
          runtime.check("pocketlm_sampler_sample", sampler, this.#session, to);
          return runtime.view.getInt32(to, true);
        }),
      close: () => runtime.call("pocketlm_sampler_free", sampler),
    };
  }

  #readFacts() {
    const runtime = this.#runtime;
    return runtime.withBytes(Facts.size, (address) => {
      Facts.write(runtime.view, address, {});
      runtime.check("pocketlm_model_facts", this.#model, address);
      const { size, ...facts } = Facts.read(runtime.view, address);
      const texts = ["architecture", "name", "chat_template", "instruction_set"];
      return { ...facts, ...Object.fromEntries(texts.map((name) => [name, runtime.text(facts[name])])) };
    });
  }
}

class Tokenizer {
  #runtime;
  #model;

  constructor(runtime, model, facts) {
    this.#runtime = runtime;
    this.#model = model;
    /** How many tokens have a spelling; ids are below it. */
    this.size = facts.token_count;
    /** The token that a text begins with, or null. */
    this.bos = facts.adds_bos ? facts.bos_token : null;
    /** Tokens that steer the model: ids by spelling. @type {Map<string, number>} */
    this.control = new Map();
    for (let id = 0; id < this.size; ++id) {
      if (runtime.call("pocketlm_model_is_control", model, id)) this.control.set(this.spelling(id), id);
    }
    const named = { bos_token: facts.bos_token, eos_token: facts.eos_token, pad_token: facts.pad_token, unk_token: facts.unknown_token };
    /** The variables by which templates write a vocabulary's own tokens. @type {Record<string, string>} */
    this.variables = Object.fromEntries(Object.entries(named).filter(([, id]) => id >= 0).map(([name, id]) => [name, this.spelling(id)]));
  }

  /** Whether a token ends an answer, by its name or as the file says. */
  isEnd(id) {
    return this.#runtime.call("pocketlm_model_is_end", this.#model, id) === 1;
  }

  spelling(id) {
    const most = 1 << 14; // bytes: no sound vocabulary has longer spellings
    const runtime = this.#runtime;
    return runtime.withBytes(most + 4, (address) => {
      runtime.check("pocketlm_token_spelling", this.#model, id, address, most, address + most);
      return runtime.text(address, runtime.view.getUint32(address + most, true));
    });
  }

  /** Token ids of plain text that stands after token `after` (null: at the start). No text becomes a control token. */
  encodeRun(text, after = null) {
    const runtime = this.#runtime;
    return runtime.withText(text, (address, length) => {
      const most = length + 8; // no token is of less than a byte, but for a space that is put in
      return runtime.withBytes(4 * most + 4, (ids) => {
        const count = ids + 4 * most;
        runtime.check("pocketlm_tokenize_after", this.#model, after ?? -1, address, length, ids, most, count);
        return runtime.numbers(ids, runtime.view.getUint32(count, true));
      });
    });
  }

  /** Text from ids that come one at a time, after token `after`. Close it afterwards. */
  detokenizer(after) {
    const runtime = this.#runtime;
    const detokenizer = runtime.make("pocketlm_detokenizer_new", this.#model, after);
    const text = (name, ...given) =>
      runtime.withBytes(4, (length) => {
        const address = runtime.make(name, detokenizer, ...given, length);
        return runtime.text(address, runtime.view.getUint32(length, true));
      });
    return {
      push: (id) => text("pocketlm_detokenizer_push", id),
      flush: () => text("pocketlm_detokenizer_flush"),
      close: () => runtime.call("pocketlm_detokenizer_free", detokenizer),
    };
  }
}
