// What a model wrote, as elements of the page: the Markdown that models write, and nothing that could be more than text.
//
// Text becomes text nodes, never HTML. Links lead to http, https and mail alone; pictures are named and not loaded.
// Works in time that grows with the text's length, whatever it holds: what is too long or too deep is shown as written.

import { h } from "../../serve/page/dom.js";
import { frameCode, frameTable } from "../../serve/page/frames.js";

const DEEPEST = 8; // lists, quotations and emphasis in one another
const LONGEST = 20_000; // characters of a paragraph that is looked into
const LONGEST_LINE = 2000; // of a line that may rule or head a table

/**
 * A part of a text that stands by itself. Two with the same `source` and `kind` look the same.
 * @typedef {{ kind: string, source: string, [more: string]: any }} Block
 */

/**
 * The blocks of a text. As it grows at its end, only the last ones change.
 * @param {string} text
 * @returns {Block[]}
 */
export function blocksOf(text, depth = 0) {
  const lines = text.split("\n");
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (isBlank(lines[at])) {
      at++;
      continue;
    }
    const [block, next] = blockAt(lines, at, depth);
    blocks.push({ ...block, source: lines.slice(at, next).join("\n") });
    at = next;
  }
  return blocks;
}

/** A block as an element, framed as the page frames code and tables. @param {Block} block */
export function rendered(block) {
  const made = h("div", { className: "block" }, element(block));
  for (const code of made.querySelectorAll("pre > code")) frameCode(code);
  for (const each of made.querySelectorAll("table")) frameTable(each);
  return made;
}

// Blocks

const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^`\s]*)/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]|$)/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(?: +|$)/;
const QUOTE = /^ {0,3}> ?/;

const isBlank = (line) => line.trim() === "";
const isRule = (line) => line.length < LONGEST_LINE && RULE.test(line);

function blockAt(lines, at, depth) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return codeAt(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) return [{ kind: "heading", level: heading[1].length, text: line.slice(heading[0].length).trim().replace(/(?:^|[ \t])#+$/, "") }, at + 1];
  if (isRule(line)) return [{ kind: "rule" }, at + 1];
  if (depth < DEEPEST) {
    if (QUOTE.test(line)) return quoteAt(lines, at, depth);
    if (ITEM.test(line)) return listAt(lines, at, depth);
  }
  if (/^(?: {4}|\t)/.test(line)) return indentedAt(lines, at);
  if (isTable(lines, at)) return tableAt(lines, at);
  return paragraphAt(lines, at, depth);
}

function codeAt(lines, at, [, mark, language]) {
  let end = at + 1;
  while (end < lines.length && !isClosing(lines[end], mark)) end++;
  return [{ kind: "code", language, text: lines.slice(at + 1, end).join("\n") }, Math.min(end + 1, lines.length)];
}

function isClosing(line, mark) {
  const found = line.trim();
  return found.length >= mark.length && found.length < LONGEST_LINE && [...found].every((letter) => letter === mark[0]);
}

function indentedAt(lines, at) {
  let end = at;
  while (end < lines.length && (/^(?: {4}|\t)/.test(lines[end]) || isBlank(lines[end]))) end++;
  const text = lines.slice(at, end).map((line) => line.replace(/^(?: {4}|\t)/, "")).join("\n");
  return [{ kind: "code", language: "", text: text.trimEnd() }, end];
}

function quoteAt(lines, at, depth) {
  let end = at;
  while (end < lines.length && (QUOTE.test(lines[end]) || (!isBlank(lines[end]) && !begins(lines, end)))) end++;
  const inner = lines.slice(at, end).map((line) => line.replace(QUOTE, "")).join("\n");
  return [{ kind: "quote", blocks: blocksOf(inner, depth + 1) }, end];
}

function listAt(lines, at, depth) {
  const first = ITEM.exec(lines[at]);
  const ordered = /\d/.test(first[2]);
  const mark = first[2].at(-1);
  const items = [];
  let end = at;
  while (end < lines.length) {
    const found = ITEM.exec(lines[end]);
    if (!found || isRule(lines[end]) || found[2].at(-1) !== mark) break;
    const indent = found[1].length + found[2].length + 1;
    const own = [lines[end].slice(Math.min(indent, lines[end].length))];
    end++;
    while (end < lines.length && belongs(lines, end, indent)) own.push(dedented(lines[end++], indent));
    items.push(blocksOf(own.join("\n"), depth + 1));
    const next = end;
    while (end < lines.length && isBlank(lines[end])) end++;
    if (end < lines.length && !ITEM.test(lines[end])) end = next;
  }
  return [{ kind: "list", ordered, start: ordered ? parseInt(first[2], 10) : 1, items }, end];
}

// Whether a line is of the item before it: indented, or going on with its paragraph.
function belongs(lines, at, indent) {
  if (isBlank(lines[at])) return at + 1 < lines.length && !isBlank(lines[at + 1]) && indentOf(lines[at + 1]) >= indent;
  return indentOf(lines[at]) >= indent || (!isBlank(lines[at - 1]) && !begins(lines, at) && !ITEM.test(lines[at]));
}

const indentOf = (line) => /^[ \t]*/.exec(line)[0].replaceAll("\t", "    ").length;
const dedented = (line, indent) => (indentOf(line) >= indent ? line.replace(/^\t/, "    ").slice(indent) : line.trimStart());

function isTable(lines, at) {
  const rule = lines[at + 1];
  if (!lines[at].includes("|") || !rule?.includes("-") || rule.length > LONGEST_LINE) return false;
  const cells = cellsOf(rule);
  return cells.every((cell) => /^:?-+:?$/.test(cell)) && cells.length === cellsOf(lines[at]).length;
}

function tableAt(lines, at) {
  const aligned = cellsOf(lines[at + 1]).map(alignment);
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|") && !isBlank(lines[end])) end++;
  const [head, ...rows] = [lines[at], ...lines.slice(at + 2, end)].map(cellsOf);
  return [{ kind: "table", aligned, head, rows }, end];
}

const alignment = (rule) => (!rule.endsWith(":") ? "" : rule.startsWith(":") ? "center" : "right");

// The cells of a row: between bars that no backslash escapes and that are in no code.
function cellsOf(line) {
  const cells = [""];
  let code = false;
  for (let at = 0; at < line.length; at++) {
    const letter = line[at];
    if (letter === "`") code = !code;
    if (letter === "\\" && line[at + 1] === "|") cells[cells.length - 1] += line[++at];
    else if (letter === "|" && !code) cells.push("");
    else cells[cells.length - 1] += letter;
  }
  const trimmed = cells.map((cell) => cell.trim());
  if (trimmed[0] === "") trimmed.shift();
  if (trimmed.at(-1) === "") trimmed.pop();
  return trimmed;
}

function paragraphAt(lines, at) {
  let end = at + 1;
  while (end < lines.length && !isBlank(lines[end]) && !begins(lines, end)) end++;
  return [{ kind: "paragraph", text: lines.slice(at, end).map((line) => line.trimStart()).join("\n") }, end];
}

// Whether a line ends the paragraph before it. A number that is not 1 may be a number in a sentence.
function begins(lines, at) {
  const line = lines[at];
  const item = ITEM.exec(line);
  return FENCE.test(line) || HEADING.test(line) || isRule(line) || QUOTE.test(line) || isTable(lines, at)
    || (item !== null && line.length > item[0].length && (!/\d/.test(item[2]) || parseInt(item[2], 10) === 1));
}

// Elements

function element(block) {
  switch (block.kind) {
    case "code":
      return h("pre", {}, h("code", { className: block.language ? `language-${block.language.slice(0, 30)}` : "" }, block.text));
    case "heading":
      return h(`h${block.level}`, {}, ...inline(block.text));
    case "rule":
      return h("hr");
    case "quote":
      return h("blockquote", {}, ...block.blocks.map(element));
    case "list":
      return h(block.ordered ? "ol" : "ul", block.ordered && block.start !== 1 ? { start: block.start } : {}, ...block.items.map(item));
    case "table":
      return table(block);
    default:
      return h("p", {}, ...inline(block.text));
  }
}

// What an item begins with is no paragraph of its own.
function item(blocks) {
  const [first, ...rest] = blocks;
  if (first?.kind !== "paragraph") return h("li", {}, ...blocks.map(element));
  return h("li", {}, ...inline(first.text), ...rest.map(element));
}

function table({ aligned, head, rows }) {
  const row = (cells, tag) => h("tr", {}, ...head.map((_, at) => h(tag, { className: aligned[at] ?? "" }, ...inline(cells[at] ?? ""))));
  return h("table", {}, h("thead", {}, row(head, "th")), h("tbody", {}, ...rows.map((cells) => row(cells, "td"))));
}

// Within a line

const SPECIAL = /[\\`*_~[!<\n]|https?:\/\//g;
const ADDRESS = /https?:\/\/[^\s<>"'`|\\]+/y;
const PUNCTUATION = /[!-/:-@[-`{-~]/;

/** A text's words as nodes. @returns {(Node | string)[]} */
export function inline(text, depth = 0) {
  if (text.length > LONGEST || depth > DEEPEST) return [text];
  const nodes = [];
  const missing = new Set(); // what closes nothing from here on
  let plain = 0;
  let at = 0;
  const take = (node, end) => {
    if (at > plain) nodes.push(text.slice(plain, at));
    nodes.push(node);
    plain = at = end;
  };
  for (;;) {
    SPECIAL.lastIndex = at;
    const found = SPECIAL.exec(text);
    if (!found) break;
    at = found.index;
    const made = spanAt(text, at, found[0], missing, depth);
    if (made) take(...made);
    else at += runAt(text, at);
  }
  if (plain < text.length) nodes.push(text.slice(plain));
  return nodes;
}

// The span that begins here, and where it ends; null where none does.
function spanAt(text, at, mark, missing, depth) {
  switch (mark) {
    case "\\":
      if (text[at + 1] === "\n") return [h("br"), at + 2];
      return PUNCTUATION.test(text[at + 1] ?? "") ? [text[at + 1], at + 2] : null;
    case "\n":
      return text.endsWith("  ", at) || text.slice(at - 2, at) === "  " ? [h("br"), at + 1] : null;
    case "`":
      return codeSpan(text, at, missing);
    case "*":
    case "_":
    case "~":
      return emphasis(text, at, mark, missing, depth);
    case "[":
      return link(text, at, missing, depth);
    case "!":
      return text[at + 1] === "[" ? picture(text, at, missing) : null;
    case "<":
      return bracketed(text, at);
    default:
      return address(text, at);
  }
}

// How many of the same mark follow one another; 1 for what is no mark.
function runAt(text, at) {
  let end = at + 1;
  if (!"`*_~".includes(text[at])) return 1;
  while (text[end] === text[at]) end++;
  return end - at;
}

function codeSpan(text, at, missing) {
  const run = runAt(text, at);
  const end = closing(text, at + run, "`", run, missing, (found) => found === run);
  if (end < 0) return null;
  const inner = text.slice(at + run, end).replaceAll("\n", " ");
  const trimmed = inner.startsWith(" ") && inner.endsWith(" ") && inner.trim() ? inner.slice(1, -1) : inner;
  return [h("code", {}, trimmed), end + run];
}

function emphasis(text, at, mark, missing, depth) {
  const run = runAt(text, at);
  const wanted = mark === "~" ? 2 : Math.min(run, 3);
  if (run > 3 || (mark === "~" && run !== 2) || /\s|^$/.test(text[at + run] ?? "")) return null;
  if (mark === "_" && isLetter(text[at - 1])) return null;
  const fits = (found, place) =>
    found >= wanted && (found === wanted || (found === 3 && wanted < 3)) && !/\s/.test(text[place - 1]) && (mark !== "_" || !isLetter(text[place + found]));
  const place = closing(text, at + run, mark, wanted, missing, fits);
  if (place < 0) return null;
  // Of a longer run the first marks close what began later.
  const end = place + runAt(text, place) - wanted;
  const inner = inline(text.slice(at + run, end), depth + 1);
  const made = { 1: () => h("em", {}, ...inner), 2: () => h(mark === "~" ? "s" : "strong", {}, ...inner), 3: () => h("strong", {}, h("em", {}, ...inner)) };
  return [made[wanted](), end + wanted];
}

const isLetter = (letter) => letter !== undefined && /[\p{L}\p{N}]/u.test(letter);

// Where the run of marks that fits begins; -1, which is remembered, where there is none.
function closing(text, from, mark, run, missing, fits) {
  const key = mark + run;
  if (missing.has(key)) return -1;
  for (let at = text.indexOf(mark, from); at >= 0; ) {
    const found = runAt(text, at);
    if (mark !== "`" && text[at - 1] === "\\") {
      at = text.indexOf(mark, at + 1);
      continue;
    }
    if (fits(found, at)) return at;
    at = text.indexOf(mark, at + found);
  }
  missing.add(key);
  return -1;
}

// [label](target) from its bracket on: label, target and end. Null where it is none.
function bracketPair(text, at, missing) {
  if (missing.has("](")) return null;
  if (text.indexOf("](", at) < 0) {
    missing.add("](");
    return null;
  }
  let deep = 0;
  const last = Math.min(text.length, at + 1000);
  for (let end = at; end < last; end++) {
    if (text[end] === "\\") end++;
    else if (text[end] === "[") deep++;
    else if (text[end] === "]" && --deep === 0) {
      if (text[end + 1] !== "(") return null;
      const close = targetEnd(text, end + 2);
      if (close < 0) return null;
      const target = text.slice(end + 2, close).trim().replace(/\s["'(].*$/s, "").replace(/^<|>$/g, "");
      return { label: text.slice(at + 1, end), target, end: close + 1 };
    }
  }
  return null;
}

function targetEnd(text, from) {
  let deep = 0;
  const last = Math.min(text.length, from + 3000);
  for (let at = from; at < last; at++) {
    if (text[at] === "(") deep++;
    else if (text[at] === ")" && deep-- === 0) return at;
    else if (text[at] === "\n") return -1;
  }
  return -1;
}

function link(text, at, missing, depth) {
  const pair = bracketPair(text, at, missing);
  if (!pair) return null;
  const words = inline(pair.label, depth + 1);
  const made = anchor(pair.target, words);
  if (!made) return null;
  const host = hostOf(pair.target);
  const node = host && !pair.label.includes(host) ? h("span", {}, made, h("span", { className: "host" }, ` (${host})`)) : made;
  return [node, pair.end];
}

function picture(text, at, missing) {
  const pair = bracketPair(text, at + 1, missing);
  if (!pair) return null;
  return [h("span", { className: "image" }, [pair.label, pair.target].filter(Boolean).join(", ")), pair.end];
}

function bracketed(text, at) {
  const end = text.indexOf(">", at);
  if (end < 0 || end - at > 2000) return null;
  const inner = text.slice(at + 1, end);
  if (/^br ?\/?$/i.test(inner)) return [h("br"), end + 1];
  if (!/^(?:https?:\/\/|mailto:)[^\s<]+$/.test(inner)) return null;
  const made = anchor(inner, [inner]);
  return made && [made, end + 1];
}

function address(text, at) {
  ADDRESS.lastIndex = at;
  let found = ADDRESS.exec(text)?.[0] ?? "";
  found = found.slice(0, 2000).replace(/[.,;:!?*_~\])}]+$/, "");
  const made = anchor(found, [found]);
  return made && [made, at + found.length];
}

function anchor(target, words) {
  let url;
  try {
    url = new URL(target);
  } catch {
    return null;
  }
  if (!["http:", "https:", "mailto:"].includes(url.protocol)) return null;
  return h("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, ...words);
}

function hostOf(target) {
  try {
    return new URL(target).host;
  } catch {
    return "";
  }
}
