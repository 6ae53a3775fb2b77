// What an answer rests on: the passages that it cites, and the calls that were made for it. All of
// it is a stranger's: it becomes text, and never HTML.

import { h, icon } from "./dom.js";

const MARK = /\s*\[(\d{1,3}|unsupported)\]/g;

// Make the numbers of an answer lead to its sources, and show which sentences have none.
export function cite(prose, message, list) {
  const numbers = new Map(message.sources.citations.map((each) => [each.number, each]));
  const texts = [];
  const walker = document.createTreeWalker(prose, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    if (!walker.currentNode.parentElement.closest("a, code, pre, button, math")) texts.push(walker.currentNode);
  }
  for (const node of texts) {
    const parts = [];
    let begin = 0;
    for (const found of node.data.matchAll(MARK)) {
      const before = node.data.slice(begin, found.index);
      const cited = numbers.get(Number(found[1]));
      if (found[1] === "unsupported") {
        const words = h("span", { className: "doubtful" }, before.trimStart());
        parts.push(/^\s/.test(before) ? " " : "", words, " ", h("span", { className: "doubt" }, "no source says this"));
      } else if (cited) {
        parts.push(before, link(cited, list));
      } else continue;
      begin = found.index + found[0].length;
    }
    if (begin) node.replaceWith(...parts, node.data.slice(begin));
  }
}

function link(cited, list) {
  const go = () => {
    const item = list.querySelector(`[data-number="${cited.number}"]`);
    item.scrollIntoView({ block: "nearest", behavior: "smooth" });
    item.focus({ preventScroll: true });
  };
  const name = `Source ${cited.number}: ${cited.title || cited.source}`;
  return h("button", { type: "button", className: "cite", "aria-label": name, title: cited.title, onclick: go }, String(cited.number));
}

// The sources below an answer; what could not be asked is said.
export function sourcesOf({ citations, problems }) {
  const items = citations.map((cited) => h("li", { className: "source", tabIndex: -1, "data-number": cited.number },
    h("p", { className: "source-head" },
      h("span", { className: "number", "aria-hidden": "true" }, String(cited.number)),
      cited.title ? h("b", {}, cited.title) : null,
      place(cited.source),
      cited.supported ? null : h("span", { className: "doubt" }, "does not support it"),
    ),
    h("blockquote", {}, cited.quote),
    passage(cited),
  ));
  const notes = problems.map((problem) => h("p", { className: "hint" }, `Without ${problem}`));
  return h("section", { className: "sources", "aria-label": "Sources" },
    items.length ? h("ol", {}, ...items) : null,
    ...notes,
  );
}

// A page of the web as a link that says where it leads; a path, or anything else, as it is.
function place(source) {
  let url;
  try {
    url = new URL(source);
  } catch {
    url = null;
  }
  if (!["http:", "https:"].includes(url?.protocol)) return h("code", {}, source);
  return h("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, url.host + (url.pathname === "/" ? "" : url.pathname));
}

function passage({ passage: text, quote }) {
  const at = text.indexOf(quote);
  if (at === 0 && text.trim() === quote.trim()) return null;
  const words = at < 0 ? [text] : [text.slice(0, at), h("mark", {}, quote), text.slice(at + quote.length)];
  return h("details", {}, h("summary", {}, "The whole passage"), h("p", { className: "passage" }, ...words));
}

// The calls that were made for an answer, folded.
export function traceOf(calls, open = false) {
  const running = calls.find((call) => call.result === null);
  const names = [...new Set(calls.map((call) => call.name))].join(", ");
  return h("details", { className: "trace", open },
    h("summary", {}, icon("tools"), running ? `Calling ${running.name} …` : `Used ${names}`),
    h("ol", {}, ...calls.map((call) => h("li", {},
      h("p", { className: call.ran || call.result === null ? "call" : "call failed" },
        h("b", {}, call.name), " ", h("code", {}, argumentsOf(call.arguments))),
      call.result === null ? null : h("pre", {}, call.result),
    ))),
  );
}

// Arguments as people read them: one text alone as it is, others by their names.
function argumentsOf(json) {
  let given;
  try {
    given = JSON.parse(json);
  } catch {
    return json;
  }
  if (given === null || typeof given !== "object") return json;
  const words = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  const entries = Object.entries(given);
  return entries.length === 1 ? words(entries[0][1]) : entries.map(([name, value]) => `${name}: ${words(value)}`).join(", ");
}
