// The worker that runs a model: loads it from the browser's storage, and answers. One model in its life; for
// another one the page ends this worker, and all its memory goes with it.

import { serve } from "./calls.js";
import { Fitting, room } from "./conversation.js";
import { PocketError } from "./errors.js";
import { choose, device } from "./features.js";
import { openModel } from "./files.js";
import { generate, readOptions } from "./generate.js";
import { Model } from "./model.js";
import { Prompts } from "./prompt.js";
import { Runtime } from "./runtime.js";
import { Template, choose as chooseTemplate } from "./templates.js";

const TELL_EVERY = 4 << 20; // bytes

let model = null;
let template = null;
let prompts = null;
let ends = new Set(); // what ends an answer beside the tokens that the file names
const fitting = new Fitting();

serve({
  async load(name, { cacheType, ...wanted }, { tell }) {
    const began = performance.now();
    const chosen = choose(device(), wanted);
    const file = await openModel(name);
    let runtime;
    try {
      const reading = told(file, tell);
      const address = new URL(`./pocket-${chosen.variant}.wasm`, import.meta.url);
      runtime = await Runtime.start(address, { shared: chosen.single === "", read: reading.read });
      runtime.startThreads(chosen.threads - 1);
      model = loaded(runtime, file.state, { threads: chosen.threads, cacheType }, reading);
    } finally {
      file.close();
    }
    const { tokenizer, facts } = model;
    template = new Template(chooseTemplate(tokenizer.control, facts.chat_template));
    prompts = new Prompts(template, tokenizer);
    const last = await prompts.endOfAnswer();
    if (last !== null) ends.add(last);
    return {
      ...facts,
      name,
      note: template.note,
      threads: chosen.threads,
      variant: chosen.variant,
      single: chosen.single,
      memory_bytes: runtime.memory.buffer.byteLength,
      seconds: (performance.now() - began) / 1000,
    };
  },

  async chat(messages, { system, ...options }, { signal, tell }) {
    const { sampling, maxTokens, stop } = readOptions(options);
    const { context } = model.facts;
    const said = system ? [{ role: "system", content: system }, ...messages] : messages;
    const window = context - room(context, maxTokens);
    const { tokens, dropped } = await fitting.fit(said, window, (some) => prompts.ids(some));
    const figures = await generate(model, tokens, { sampling, maxTokens, stop: [...stop, ...template.stopStrings] }, {
      isEnd: (token) => model.tokenizer.isEnd(token) || ends.has(token),
      signal,
      tell,
    });
    return { ...figures, dropped };
  },

  prompt: (messages) => prompts.ids(messages),

  tokenize: (text) => model.tokenizer.encodeRun(text),
});

// The file's bytes as they are read, of which the page hears; and why they could not be.
function told(file, tell) {
  let next = 0;
  const reading = {
    failure: null,
    read(offset, to) {
      try {
        if (!file.read(offset, to)) throw new Error("the file is shorter than it should be");
      } catch (error) {
        reading.failure = error;
        return false;
      }
      const have = offset + to.length;
      if (have >= next) {
        tell([have, file.state.bytes]);
        next = have + TELL_EVERY;
      }
      return true;
    },
  };
  return reading;
}

function loaded(runtime, { name, title, bytes }, options, reading) {
  try {
    return Model.load(runtime, bytes, options);
  } catch (error) {
    if (reading.failure) {
      throw new PocketError("damaged", `The stored file of ${name} cannot be read (${reading.failure.message}). Remove the model and download it again.`);
    }
    if (error.code === "memory") {
      throw new PocketError("memory", `${title} is too large for this page's memory. ${error.message} Take a smaller model, or one of fewer bits.`);
    }
    throw error;
  }
}
