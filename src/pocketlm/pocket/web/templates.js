// The chat template of a model, and what is assumed where its file holds none (chat/fallback.py). It comes from a
// model file: a program that nobody has read. It is rendered in a worker of its own, which is ended when it does
// not answer. Knows neither tokens nor what the messages mean.

import { Remote } from "./calls.js";
import { PocketError } from "./errors.js";

const MAX_SOURCE = 1 << 20; // characters; the longest real templates have 30,000
const WAIT_MS = 5000; // sound templates need milliseconds

/** The template is broken, or runs away. */
export class TemplateFault extends PocketError {
  constructor(message) {
    super("template", message);
  }
}

/** The template itself said that it cannot take these messages (`raise_exception`). */
export class Refusal extends TemplateFault {}

// Forms of a chat: the control tokens that each needs, its name, its template.
const FORMS = [
  {
    needed: ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"],
    name: "Phi-3's",
    source:
      "{% for message in messages %}" +
      "{{ '<|' + message.role + '|>\n' + message.content + '<|end|>\n' }}{% endfor %}" +
      "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
  },
  {
    needed: ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    name: "Llama 3's",
    source:
      "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message.role +" +
      " '<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' }}{% endfor %}" +
      "{% if add_generation_prompt %}" +
      "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
  },
  {
    needed: ["<|im_start|>", "<|im_end|>"],
    name: "ChatML",
    source:
      "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content" +
      " + '<|im_end|>\n' }}{% endfor %}" +
      "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
  },
];

// Without any of these tokens a model was trained on plain text, and gets plain text.
const PLAIN = {
  source:
    "{% for message in messages %}{% if message.role == 'system' %}{{ message.content + '\n\n' }}" +
    "{% else %}{{ message.role | capitalize + ': ' + message.content + '\n' }}{% endif %}" +
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
  note: "the file holds no chat template; the model is asked in plain text",
  stopStrings: ["\nUser:", "\nSystem:"],
};

/**
 * The template of a file, or the one that its vocabulary suggests, with a note that says so.
 * @param {Map<string, number>} control  the vocabulary's control tokens
 * @param {string} source  as the file has it; "" where it has none
 * @returns {{ source: string, note: string, stopStrings: string[] }}
 */
export function choose(control, source) {
  if (source) return { source, note: "", stopStrings: [] };
  const form = FORMS.find(({ needed }) => needed.every((spelling) => control.has(spelling)));
  if (!form) return PLAIN;
  const note = `the file holds no chat template; its tokens suggest ${form.name}`;
  return { source: form.source, note, stopStrings: [] };
}

/** A template that is rendered where it can do no harm. */
export class Template {
  #worker = null;

  /** @param {{ source: string, note: string, stopStrings: string[] }} chosen */
  constructor({ source, note, stopStrings }) {
    if (source.length > MAX_SOURCE) {
      throw new TemplateFault(`The chat template is ${source.length} characters long; at most ${MAX_SOURCE} are read.`);
    }
    this.source = source;
    this.note = note;
    this.stopStrings = stopStrings;
  }

  /** The text that it makes of variables. Throws a TemplateFault; a Refusal where it refuses the messages. */
  async render(variables) {
    const worker = await this.#running();
    const timer = setTimeout(() => {
      worker.terminate(new TemplateFault(`The model's chat template runs for more than ${WAIT_MS / 1000} s.`));
    }, WAIT_MS);
    try {
      const { text, refused, broken } = await worker.call("render", [this.source, variables]);
      if (refused !== undefined) throw new Refusal(`The chat template refuses the messages: ${line(refused)}.`);
      if (broken !== undefined) throw new TemplateFault(`The model's chat template is broken: ${line(broken)}.`);
      return text;
    } finally {
      clearTimeout(timer);
    }
  }

  // How long the worker takes to start is no fault of the template.
  async #running() {
    if (!this.#worker?.alive) {
      this.#worker = new Remote(new URL("./renderer.js", import.meta.url));
      await this.#worker.call("ready");
    }
    return this.#worker;
  }
}

const line = (text) => text.split(/\s+/).filter(Boolean).join(" ").replace(/\.$/, "").slice(0, 200);
