// A conversation on the page: its messages, and the one that is being written.

import { $, announce, card, copy, h, iconButton, textButton } from "./dom.js";
import { chip } from "./composer.js";
import { frameCode, frameTable } from "./frames.js";
import { rendered } from "./rendered.js";
import { cite, sourcesOf, traceOf } from "./sources.js";

const LONG = 1500; // characters of a message of one's own that is folded
let hooks;
let chat = null; // the one that is shown
let sticking = true;

// `hooks` are again(position, { search }), edit(position, text) and isBusy().
export function begin(given) {
  hooks = given;
  const scroll = $("scroll");
  let before = 0;
  scroll.addEventListener("scroll", () => {
    // An answer that grows moves the end away; only who scrolls up wants to leave it.
    if (scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 48) sticking = true;
    else if (scroll.scrollTop < before) sticking = false;
    before = scroll.scrollTop;
    $("to-end").hidden = sticking || !chat?.messages.length;
  });
  new ResizeObserver(follow).observe($("messages"));
  $("to-end").addEventListener("click", () => toEnd());
}

export function show(given) {
  chat = given;
  for (const message of chat.messages) message.node = null;
  redraw();
  toEnd();
}

// Draw what has no node yet; what is no message any more goes.
export function redraw() {
  $("messages").replaceChildren(...chat.messages.map((message, at) => (message.node ??= element(message, at))));
  $("empty").hidden = chat.messages.length > 0;
}

export function toEnd() {
  sticking = true;
  follow();
  $("to-end").hidden = true;
}

function follow() {
  if (sticking) $("scroll").scrollTop = $("scroll").scrollHeight;
}

// Draw one message anew.
export function update(message) {
  const old = message.node;
  const at = chat.messages.indexOf(message);
  if (at < 0) return;
  message.node = element(message, at);
  old?.replaceWith(message.node);
}

// The answer has new blocks from `first` on; those before are over. To draw them takes a fifth of the time at most, however
// long a paragraph is: the rest is for whoever scrolls, stops or goes elsewhere.
export function grow(message, first, blocks) {
  message.blocks = [...message.blocks.slice(0, first), ...blocks];
  message.undrawn = Math.min(message.undrawn ?? first, first);
  const pause = (message.idleUntil ?? 0) - performance.now();
  if (pause <= 0) drawRest(message);
  else message.drawing ??= setTimeout(() => drawRest(message), pause);
}

function drawRest(message) {
  const { undrawn: first, spoken = 0 } = message;
  clearTimeout(message.drawing);
  message.undrawn = message.drawing = null;
  const prose = message.node?.querySelector(".prose");
  if (!prose || !chat.messages.includes(message)) return;
  const begun = performance.now();
  for (const block of [...prose.children].slice(spoken, first)) speak(block);
  message.spoken = Math.max(spoken, first);
  while (prose.childElementCount > first) prose.lastElementChild.remove();
  prose.append(...message.blocks.slice(first).map(dressed));
  message.node.querySelector(".waiting")?.remove();
  prose.getBoundingClientRect(); // what it takes to lay it out is part of it
  const now = performance.now();
  message.idleUntil = now + 4 * (now - begun);
}

// Calls were made for the answer, or have their results.
export function trace(message) {
  const old = message.node?.querySelector(".trace");
  const made = traceOf(message.calls, old?.open);
  if (old) old.replaceWith(made);
  else message.node?.prepend(made);
}

export function wait(message, words, progress = null) {
  const place = message.node?.querySelector(".waiting");
  if (!place) return;
  const bar = progress === null ? h("i") : h("progress", { max: 1, value: progress, "aria-label": words });
  place.replaceChildren(bar, h("span", {}, words));
}

// What a screen reader has not been told of the answer yet.
export function speakRest(message) {
  if (message.drawing) drawRest(message);
  const prose = message.node?.querySelector(".prose");
  for (const block of [...(prose?.children ?? [])].slice(message.spoken ?? 0)) speak(block);
}

function speak(block) {
  const words = block.cloneNode(true);
  for (const caption of words.querySelectorAll("figcaption")) caption.remove();
  announce(words.textContent);
}

// The answer's words, where what the model wrote is not known.
export function wordsOf(message) {
  return message.blocks.map((html) => rendered(html).textContent).join("\n");
}

export function editLast() {
  const at = chat.messages.findLastIndex((message) => message.role === "user");
  if (at < 0 || hooks.isBusy()) return false;
  edit(chat.messages[at], at);
  return true;
}

function element(message, at) {
  if (message.role === "user") return question(message, at);
  if (message.role === "assistant") return answer(message, at);
  return h("article", { className: "message", "aria-label": message.role }, h("p", { className: "hint" }, message.content));
}

function question(message, at) {
  const long = message.text.length > LONG;
  const said = h("div", { className: long ? "said long" : "said" }, message.text);
  const files = (message.files ?? []).map((file) => chip(file.name, file.characters));
  const copying = iconButton("copy", "Copy the message", () => copy(message.text, copying));
  return h("article", { className: "message user", "aria-label": "You" },
    files.length ? h("ul", { className: "chips", "aria-label": "Attached files" }, ...files) : null,
    message.text ? said : null,
    long ? unfolding(said) : null,
    h("div", { className: "actions" },
      iconButton("edit", "Edit the message", () => !hooks.isBusy() && edit(message, at)),
      copying,
    ),
    unanswered(message, at),
  );
}

function unfolding(said) {
  const button = textButton("Show all", () => {
    const folded = said.classList.toggle("long");
    button.textContent = folded ? "Show all" : "Show less";
    button.setAttribute("aria-expanded", String(!folded));
  }, "more");
  button.setAttribute("aria-expanded", "false");
  return button;
}

function unanswered(message, at) {
  if (message.pending || at !== chat.messages.length - 1) return null;
  return card("This message has no answer yet.", [textButton("Answer it", () => hooks.again(at))], { mild: true });
}

function answer(message, at) {
  const prose = h("div", { className: "prose" }, ...message.blocks.map(dressed));
  const parts = message.calls?.length ? [traceOf(message.calls), prose] : [prose];
  if (message.pending) {
    if (!message.blocks.length) parts.push(h("div", { className: "waiting" }, h("i"), h("span", {}, "…")));
  } else {
    if (message.sources) {
      const sources = sourcesOf(message.sources);
      cite(prose, message, sources);
      if (sources.childElementCount) parts.push(sources);
      if (!message.sources.found && at === chat.messages.length - 1) parts.push(withoutSearch(at));
    }
    if (message.note) parts.push(h("p", { className: "hint" }, message.note));
    parts.push(actions(message, at));
    if (message.error) {
      parts.push(card(message.error, [textButton("Try again", () => hooks.again(at - 1))]));
    }
  }
  const name = message.pending ? "message assistant writing" : "message assistant";
  return h("article", { className: name, "aria-label": "Answer", "aria-busy": String(Boolean(message.pending)) }, ...parts);
}

function withoutSearch(at) {
  const button = textButton("Answer without search", () => !hooks.isBusy() && hooks.again(at - 1, { search: false }));
  return h("p", { className: "row start" }, button);
}

function actions(message, at) {
  const copying = iconButton("copy", "Copy the answer", () => copy(message.content, copying));
  const buttons = [copying];
  if (at === chat.messages.length - 1) {
    buttons.push(iconButton("again", "Answer again", () => !hooks.isBusy() && hooks.again(at - 1)));
  }
  const figures = message.figures ? h("span", { className: "figures" }, message.figures) : null;
  return h("div", { className: "actions" }, ...buttons, figures);
}

function edit(message, at) {
  const area = h("textarea", { value: message.text, "aria-label": "Edit your message" });
  const end = () => {
    update(message);
    $("prompt").focus();
  };
  const send = () => {
    const text = area.value.trim();
    if (text || message.files?.length) hooks.edit(at, text);
  };
  area.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      end();
    }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
  });
  const later = at < chat.messages.length - 2 ? h("p", { className: "hint" }, "What came after it goes.") : null;
  const form = h("article", { className: "message user", "aria-label": "You" },
    h("div", { className: "edit" }, area, later,
      h("div", { className: "row" }, textButton("Cancel", end), textButton("Send", send, "primary"))),
  );
  message.node.replaceWith(form);
  message.node = form;
  area.focus();
  area.setSelectionRange(area.value.length, area.value.length);
}

// A block of the answer, with what the page adds: frames for code and tables.
function dressed(html) {
  const block = rendered(html);
  for (const code of block.querySelectorAll("pre > code")) frameCode(code);
  for (const table of block.querySelectorAll("table")) frameTable(table);
  return block;
}
