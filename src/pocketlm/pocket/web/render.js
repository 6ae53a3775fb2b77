// Jinja as chat templates of the hub expect it: @huggingface/jinja, with the globals that Python's jinja2 has, and its
// strip() of given characters. Runs in renderer.js; takes as long as a template wants.

import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";

// Most characters that a template may write: these, and so many for each that it was given.
const OUTPUT_CHARACTERS = 1 << 18;
const OUTPUT_FACTOR = 8;
const MAX_RANGE = 100_000; // as jinja2's sandbox has it

const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

class RefusedError extends Error {}

let compiled = null; // the last template's text and program

/**
 * The text that a template makes of variables, or why there is none.
 * @returns {{ text: string } | { refused: string } | { broken: string }}
 */
export function render(source, variables) {
  try {
    if (compiled?.source !== source) {
      compiled = { source, program: parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true })) };
    }
    const text = new Interpreter(environment(variables)).run(compiled.program).value;
    const limit = OUTPUT_CHARACTERS + OUTPUT_FACTOR * JSON.stringify(variables).length;
    return text.length > limit ? { broken: `it writes more than ${limit} characters` } : { text };
  } catch (error) {
    return error instanceof RefusedError ? { refused: error.message } : { broken: String(error?.message ?? error) };
  }
}

function environment(variables) {
  const found = new Environment();
  const globals = {
    true: true, false: false, none: null, True: true, False: false, None: null,
    range, strftime_now: strftime,
    raise_exception: (message) => {
      throw new RefusedError(String(message));
    },
  };
  for (const [name, value] of Object.entries({ ...globals, ...variables })) found.set(name, value);
  return found;
}

function range(start, stop, step = 1) {
  if (stop === undefined) [start, stop] = [0, start];
  const count = Math.max(Math.ceil((stop - start) / step), 0);
  if (!(count <= MAX_RANGE)) throw new Error(`range() is longer than ${MAX_RANGE}`);
  return Array.from({ length: count }, (_, i) => start + i * step);
}

// In English, as on the desktop, whatever the browser speaks.
function strftime(format) {
  const now = new Date();
  const two = (number) => String(number).padStart(2, "0");
  const parts = {
    Y: String(now.getFullYear()), m: two(now.getMonth() + 1), d: two(now.getDate()),
    B: MONTHS[now.getMonth()], b: MONTHS[now.getMonth()].slice(0, 3),
    H: two(now.getHours()), M: two(now.getMinutes()), S: two(now.getSeconds()), "%": "%",
  };
  return format.replace(/%([YmdBbHMS%])/g, (_, name) => parts[name]);
}

// The library's strip() takes no argument: with one, it is Python's here.
const Text = new Environment().set("text", "").constructor;
const library = Object.getOwnPropertyDescriptor(Text.prototype, "builtins").get;
Object.defineProperty(Text.prototype, "builtins", {
  get() {
    const builtins = library.call(this);
    if (builtins.has("#")) return builtins;
    for (const [name, left, right] of [["strip", true, true], ["lstrip", true, false], ["rstrip", false, true]]) {
      const plain = builtins.get(name);
      const strip = (given, scope) => {
        const characters = given[0];
        return characters instanceof Text ? new Text(stripped(this.value, characters.value, left, right)) : plain.value(given, scope);
      };
      builtins.set(name, new plain.constructor(strip));
    }
    return builtins.set("#", null); // done
  },
});

function stripped(text, characters, left, right) {
  const found = [...text];
  const among = new Set(characters);
  let begin = 0;
  let end = found.length;
  while (left && begin < end && among.has(found[begin])) begin += 1;
  while (right && end > begin && among.has(found[end - 1])) end -= 1;
  return found.slice(begin, end).join("");
}
