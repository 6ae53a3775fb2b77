// A conversation on the page: its messages, and the one that is being written.

import { $, announce, card, copy, h, iconButton, textButton } from "../../serve/page/dom.js";
import { blocksOf, rendered } from "./markdown.js";

const LONG = 1500; // characters of a message of one's own that is folded
let hooks;
let chat = null; // the one that is shown
let sticking = true;
const nodes = new WeakMap(); // of each message: its element, its blocks, and how many of them were spoken

/** @param {{ again: (at: number) => void, edit: (at: number, text: string) => void, isBusy: () => boolean }} given */
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
  $("to-end").addEventListener("click", toEnd);
}

/** Show a chat from its end. @param {import("./chats.js").Chat} given */
export function show(given) {
  chat = given;
  redraw();
  toEnd();
}

/** Show what has become of the chat, from where it is looked at. @param {import("./chats.js").Chat} given */
export function change(given) {
  chat = given;
  redraw();
  follow();
}

/** Draw every message anew. */
export function redraw() {
  $("messages").replaceChildren(...chat.messages.map(draw));
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

/** Say what is waited for. @param {number | null} part  how much of it is done */
export function wait(message, words, part = null) {
  const place = nodes.get(message)?.element.querySelector(".waiting");
  if (!place) return;
  const bar = part === null ? h("i") : h("progress", { max: 1, value: part, "aria-label": words });
  place.replaceChildren(bar, h("span", {}, words));
}

/** The answer has more text: draw the blocks that changed, which are the last. */
export function grow(message) {
  const drawn = nodes.get(message);
  const prose = drawn?.element.querySelector(".prose");
  if (!prose?.isConnected) return;
  const blocks = blocksOf(message.content);
  const first = blocks.findIndex((block, at) => block.kind !== drawn.blocks[at]?.kind || block.source !== drawn.blocks[at].source);
  if (first < 0) return;
  while (prose.childElementCount > first) prose.lastElementChild.remove();
  prose.append(...blocks.slice(first).map(rendered));
  drawn.blocks = blocks;
  speak(message, blocks.length - 1);
  drawn.element.querySelector(".waiting")?.remove();
  prose.getBoundingClientRect(); // laid out now: whoever asks how long it took is told all of it
}

/** Tell a screen reader of the blocks before `end` that it was not told of; none changes any more. */
export function speak(message, end = Infinity) {
  const drawn = nodes.get(message);
  const blocks = [...(drawn?.element.querySelector(".prose")?.children ?? [])];
  for (const block of blocks.slice(drawn?.spoken, end)) {
    const words = block.cloneNode(true);
    for (const caption of words.querySelectorAll("figcaption")) caption.remove();
    announce(words.textContent);
    drawn.spoken++;
  }
}

export function editLast() {
  const at = chat.messages.findLastIndex((message) => message.role === "user");
  if (at < 0 || hooks.isBusy()) return false;
  edit(chat.messages[at], at);
  return true;
}

function draw(message, at) {
  const blocks = message.role === "assistant" ? blocksOf(message.content) : [];
  const element = message.role === "user" ? question(message, at) : answer(message, at, blocks);
  nodes.set(message, { element, blocks, spoken: 0 });
  return element;
}

function question(message, at) {
  const long = message.content.length > LONG;
  const said = h("div", { className: long ? "said long" : "said" }, message.content);
  const copying = iconButton("copy", "Copy the message", () => copy(message.content, copying));
  const alone = at === chat.messages.length - 1 && !hooks.isBusy();
  return h("article", { className: "message user", "aria-label": "You" },
    said,
    long ? unfolding(said) : null,
    h("div", { className: "actions" }, iconButton("edit", "Edit the message", () => !hooks.isBusy() && edit(message, at)), copying),
    alone ? card("This message has no answer yet.", [textButton("Answer it", () => hooks.again(at))], { mild: true }) : null,
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

function answer(message, at, blocks) {
  const writing = Boolean(message.pending);
  const parts = [h("div", { className: "prose" }, ...blocks.map(rendered))];
  if (writing) {
    if (!blocks.length) parts.push(h("div", { className: "waiting" }, h("i"), h("span", {}, "…")));
  } else {
    if (message.note) parts.push(h("p", { className: "hint" }, message.note));
    parts.push(actions(message, at));
    if (message.error) parts.push(card(message.error, [textButton("Try again", () => hooks.again(at - 1))]));
  }
  return h("article", { className: writing ? "message assistant writing" : "message assistant", "aria-label": "Answer", "aria-busy": String(writing) }, ...parts);
}

function actions(message, at) {
  const copying = iconButton("copy", "Copy the answer", () => copy(message.content, copying));
  const last = at === chat.messages.length - 1;
  const again = last ? iconButton("again", "Answer again", () => !hooks.isBusy() && hooks.again(at - 1)) : null;
  const figures = message.figures ? h("span", { className: "figures" }, message.figures) : null;
  return h("div", { className: "actions" }, copying, again, figures);
}

function edit(message, at) {
  const area = h("textarea", { value: message.content, "aria-label": "Edit your message" });
  const end = () => {
    redraw();
    $("prompt").focus();
  };
  const send = () => {
    const text = area.value.trim();
    if (text) hooks.edit(at, text);
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
  nodes.get(message).element.replaceWith(form);
  nodes.get(message).element = form;
  area.focus();
  area.setSelectionRange(area.value.length, area.value.length);
}
