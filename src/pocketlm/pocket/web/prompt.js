// From messages to the token ids of a prompt, so that no content can steer the model: chat/prompt.py in JavaScript,
// id for id the same. Its first lines say how: characters that could spell a control token are replaced by
// stand-ins in all that is given, the template renders, the text is cut at the control tokens that now are in it,
// and in what is between them the stand-ins become again what they stood for.
//
// Knows chat templates by a function that renders, and a tokenizer; runs no model. Tools and parts of contents
// that are no text are not among what the browser asks.

import { PocketError } from "./errors.js";
import { Refusal, TemplateFault } from "./templates.js";

const ROLES = ["system", "user", "assistant"];
const LETTERS = "abcdefghijklmnopqrstuvwxyz";
// Characters that Python's strip() takes and JavaScript's trim() leaves, and those that both take. Templates trim.
const PYTHON_SPACES = "\x1c\x1d\x1e\x1f\x85";
const SHARED_SPACES = "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u1680\u202f\u205f\u3000";
const BYTE_ORDER_MARK = "\ufeff"; // which trim() takes and strip() leaves

/**
 * @typedef {import("./client.js").Message} Message
 * @typedef {{ control: Map<string, number>, variables: Record<string, string>, bos: number | null, size: number,
 *   isEnd: (id: number) => boolean, encodeRun: (text: string, after: number | null) => number[] }} Tokenizer
 * @typedef {{ source: string, render: (variables: object) => Promise<string> }} Template
 */

export class Prompts {
  #template;
  #tokenizer;
  #cut; // at the spellings of control tokens
  #spelled; // characters of which each of these has one
  #surplus = null;

  /** @param {Template} template @param {Tokenizer} tokenizer */
  constructor(template, tokenizer) {
    this.#template = template;
    this.#tokenizer = tokenizer;
    const longestFirst = [...tokenizer.control.keys()].sort((one, other) => other.length - one.length);
    this.#cut = longestFirst.length ? new RegExp(`(${longestFirst.map(escaped).join("|")})`) : null;
    this.#spelled = characters(tokenizer.control.keys());
  }

  /**
   * The token ids of a conversation that is to be answered, BOS once where the tokenizer or the template wants it.
   *
   * Throws a PocketError "template" where the template cannot render the messages or would leave one out,
   * "argument" for messages that are none.
   * @param {Message[]} messages
   * @returns {Promise<number[]>}
   */
  async ids(messages) {
    const plain = messages.map((message) => this.#checked(message));
    try {
      return await this.#attempt(plain);
    } catch (error) {
      const system = plain.some((message) => message.role === "system");
      const foldable = error instanceof Loss ? error.role === "system" : error instanceof Refusal && system;
      if (!foldable) throw error;
    }
    return this.#attempt(folded(plain));
  }

  /** The token that the template writes after an answer, which ends it; null where it writes none. */
  async endOfAnswer() {
    const [question, answer] = [mark(), mark()];
    const text = await this.#tried([user(question), assistant(answer)], false);
    const at = text?.lastIndexOf(answer) ?? -1;
    if (at < 0) return null;
    return this.#split(text.slice(at + answer.length)).find((piece) => typeof piece === "number") ?? null;
  }

  async #attempt(given) {
    const standIns = this.#standIns(given);
    const back = new Map([...standIns].map(([char, standIn]) => [standIn, char]));
    const generated = new Map();
    const messages = given.map(({ role, content, tokens }) => {
      if (!tokens?.length) return { role, content: replaced(content, standIns) };
      const standing = mark();
      generated.set(standing, tokens);
      return { role, content: standing };
    });
    const text = await this.#render(messages, true);
    await this.#checkComplete(messages, text);
    const ids = await this.#tokens(text, back, generated);
    const { bos } = this.#tokenizer;
    if (bos !== null) {
      while (ids[0] === bos) ids.shift();
      ids.unshift(bos);
    }
    return ids;
  }

  #checked(message) {
    const { role, tokens } = message ?? {};
    const content = message?.content ?? "";
    if (!ROLES.includes(role)) {
      throw new PocketError("argument", `A message has the role ${JSON.stringify(role)}; known are ${ROLES.join(", ")}.`);
    }
    if (typeof content !== "string") throw new PocketError("argument", "A message's content must be a text.");
    if (tokens === undefined || tokens === null) return { role, content };
    if (role !== "assistant") throw new PocketError("argument", "Only an assistant's message carries the tokens it was made of.");
    if (![...tokens].every((id) => Number.isInteger(id) && id >= 0 && id < this.#tokenizer.size)) {
      throw new PocketError("argument", "A message's tokens are not ids of this model's vocabulary.");
    }
    return { role, content, tokens: [...tokens] };
  }

  // A character that occurs nowhere for each that can spell a control token: one of private use, of a single unit
  // of UTF-16, so that lengths stay. For spaces that the two languages do not see alike, one that they do.
  #standIns(messages) {
    const taken = new Set([this.#template.source, ...messages.map((message) => message.content)].join(""));
    const found = new Map();
    for (const char of [...this.#spelled, ...(taken.has(BYTE_ORDER_MARK) ? [BYTE_ORDER_MARK] : [])]) {
      found.set(char, privateCharacter(taken));
    }
    const spaces = [...SHARED_SPACES].filter((char) => !taken.has(char));
    for (const char of PYTHON_SPACES) {
      if (taken.has(char) && spaces.length) found.set(char, spaces.pop());
    }
    return found;
  }

  // Throw for the first message whose content is not in what was rendered. The contents are rendered once more as
  // marks, which must come back, in whatever case of letters. A template may look at an answer before it shows it;
  // so what is no system prompt and lost its mark is lost only if it is not found in the text either.
  async #checkComplete(messages, text) {
    const marks = messages.map(({ content }) => (content.trim() ? mark() : null));
    const marked = messages.map((message, at) => (marks[at] === null ? message : { ...message, content: marks[at] }));
    const seen = (await this.#render(marked, true)).toLowerCase();
    messages.forEach(({ role, content }, at) => {
      if (marks[at] === null || seen.includes(marks[at])) return;
      if (role === "system" || !text.includes(content.trim())) throw new Loss(role);
    });
  }

  // Cut at the control tokens, and tokenise what is between them.
  async #tokens(text, back, generated) {
    const surplus = generated.size ? await this.#surplusBeforeAnswers() : "";
    const ids = [];
    const pieces = this.#split(text);
    pieces.forEach((piece, at) => {
      if (typeof piece === "number") ids.push(piece);
      else this.#addRun(ids, piece, { back, generated, surplus, last: at === pieces.length - 1 });
    });
    return ids;
  }

  // Tokenise one run after `ids`; marks in it become the ids that they stand for.
  #addRun(ids, text, { back, generated, surplus, last }) {
    const parts = generated.size ? text.split(new RegExp(`(${[...generated.keys()].join("|")})`)) : [text];
    let closed = false;
    parts.forEach((part, place) => {
      if (place % 2) {
        let tokens = generated.get(part);
        if (!last && place === parts.length - 2) {
          // The template closes the turn; if the model did so too, it is closed once.
          closed = this.#tokenizer.isEnd(tokens.at(-1));
          if (closed) tokens = tokens.slice(0, -1);
        }
        for (const id of tokens) ids.push(id);
      } else if (!(closed && !part.trim())) {
        if (place < parts.length - 1 && surplus && part.endsWith(surplus)) part = part.slice(0, -surplus.length);
        for (const id of this.#tokenizer.encodeRun(replaced(part, back), ids.at(-1) ?? null)) ids.push(id);
      }
    });
  }

  // What the template writes before an answer and not before one that is still to come: Llama 2's writes "[/INST]",
  // and "[/INST] " before an answer, the space of the answer's first token, which its ids have already.
  async #surplusBeforeAnswers() {
    if (this.#surplus !== null) return this.#surplus;
    const [question, answer] = [mark(), mark()];
    const asked = await this.#tried([user(question)], true);
    const answered = await this.#tried([user(question), assistant(answer)], false);
    this.#surplus = "";
    if (asked !== null && answered !== null) {
      const opening = behind(asked, question);
      const written = behind(answered.split(answer, 1)[0], question);
      const more = written.slice(opening.length);
      if (written.startsWith(opening) && !more.trim()) this.#surplus = more;
    }
    return this.#surplus;
  }

  // A text cut at the spellings of control tokens: runs of text, and the tokens' ids.
  #split(text) {
    if (!this.#cut) return text ? [text] : [];
    const pieces = text.split(this.#cut).map((piece, at) => (at % 2 ? this.#tokenizer.control.get(piece) : piece));
    return pieces.filter((piece) => piece !== "");
  }

  #render(messages, addGenerationPrompt) {
    return this.#template.render({
      ...this.#tokenizer.variables,
      messages,
      tools: null,
      documents: null,
      add_generation_prompt: addGenerationPrompt,
    });
  }

  async #tried(messages, addGenerationPrompt) {
    try {
      return await this.#render(messages, addGenerationPrompt);
    } catch (error) {
      if (error instanceof TemplateFault) return null;
      throw error;
    }
  }
}

class Loss extends TemplateFault {
  constructor(role) {
    super(`The chat template leaves out or cuts messages of the role "${role}".`);
    this.role = role;
  }
}

// System prompts put before the text of the user turn that follows, in one turn with it.
function folded(messages) {
  const found = [];
  let waiting = [];
  for (const message of messages) {
    if (message.role === "system") {
      if (message.content.trim()) waiting.push(message.content);
    } else if (waiting.length && message.role === "user") {
      found.push(user([...waiting, message.content].join("\n\n")));
      waiting = [];
    } else {
      found.push(message);
    }
  }
  if (waiting.length) found.push(user(waiting.join("\n\n")));
  return found;
}

const user = (content) => ({ role: "user", content });
const assistant = (content) => ({ role: "assistant", content });
const behind = (text, word) => text.split(word).at(-1);

// Characters of which each spelling has one: brackets where it has any.
function characters(spellings) {
  const found = new Set();
  for (const spelling of spellings) {
    const chars = [...spelling];
    if (chars.some((char) => found.has(char))) continue;
    found.add(chars.find((char) => !/[\p{L}\p{N}]/u.test(char)) ?? chars[0]);
  }
  return found;
}

function privateCharacter(taken) {
  const free = [];
  for (let code = 0xe000; code < 0xf900; ++code) {
    const char = String.fromCharCode(code);
    if (!taken.has(char)) free.push(char);
  }
  if (!free.length) throw new PocketError("argument", "The messages hold every character of private use there is: leave one out.");
  const char = free[random(free.length)];
  taken.add(char);
  return char;
}

const replaced = (text, table) => {
  let found = "";
  for (const char of text) found += table.get(char) ?? char;
  return found;
};

// Twenty-four letters that nobody can guess.
const mark = () => Array.from({ length: 24 }, () => LETTERS[random(LETTERS.length)]).join("");

function random(below) {
  const limit = 2 ** 32 - (2 ** 32 % below);
  for (;;) {
    const [value] = crypto.getRandomValues(new Uint32Array(1));
    if (value < limit) return value % below;
  }
}

const escaped = (text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
