// The page: which chat is open, what is asked of the engine, and what the keyboard does.

import * as chats from "./chats.js";
import * as composer from "./composer.js";
import * as models from "./models.js";
import * as offline from "./offline.js";
import * as settings from "./settings.js";
import * as sidebar from "./sidebar.js";
import * as talk from "./talk.js";
import { Pocket, PocketError } from "./client.js";
import { $, announce, card, h, textButton } from "../../serve/page/dom.js";

const IDEAS = ["Explain photosynthesis to a child", "Write a polite reminder by mail", "Name three ideas for a rainy day"];
const KEY = "pocketlm-key";
const SAVING = 1000; // milliseconds between two times that a growing answer is kept
const FRAME = 16; // milliseconds of a picture

/** @returns {import("./chats.js").Chat} */
const fresh = () => ({ id: crypto.randomUUID(), title: "", model: "", updated: 0, context: null, messages: [] });

let pocket = null;
let chat = fresh();
let writing = null; // { chat, answer, abort }: the engine writes one answer at a time
let fault = null; // why there is no engine

// Chats

async function open(id) {
  if (id === chat.id) return;
  if (writing?.chat.id === id) return show(writing.chat);
  try {
    const found = await read(id);
    if (found) show(found);
    else startNew();
  } catch (error) {
    notice(`The chat cannot be read: ${error.message}.`);
  }
}

async function read(id) {
  const found = await chats.get(id);
  const last = found?.messages.at(-1);
  if (last?.pending) {
    delete last.pending;
    if (await chats.isHeld(id)) last.note = "It is being written in another tab.";
    else if (last.content) last.note = "Cut off: the page was closed while this was written.";
    else found.messages.pop();
  }
  return found;
}

// Another tab has kept or removed a chat: what is shown here, if nothing is being written, is what there is.
async function changed(id) {
  sidebar.refresh();
  if (id !== chat.id && id !== writing?.chat.id) return;
  const found = await read(id);
  if (!found) gone(id);
  else if (id === chat.id && writing?.chat !== chat) {
    chat = found;
    talk.change(chat);
    update();
  }
}

function gone(id) {
  if (writing?.chat.id === id) stop();
  if (id === chat.id) startNew();
}

function show(given) {
  chat = given;
  notice();
  talk.show(chat);
  update();
  sidebar.refresh();
  closeSide();
}

function startNew() {
  history.pushState(null, "", location.pathname);
  show(fresh());
  composer.focus();
}

function route() {
  const id = /^#([\w-]{1,64})$/.exec(location.hash)?.[1];
  if (id) open(id);
  else if (chat.messages.length) show(fresh());
}

// Keeps a chat, once it was kept as it was before; that it cannot be kept is said once.
function keep(mine) {
  mine.kept = (mine.kept ?? Promise.resolve()).then(() => keepNow(mine));
  return mine.kept;
}

async function keepNow(mine) {
  mine.updated = Date.now();
  const { id, title, model, updated, version, context, messages } = mine;
  try {
    mine.version = await chats.put({ id, title, model, updated, version, context, messages });
    mine.lost = false;
  } catch (error) {
    if (error instanceof chats.Changed) return part(mine);
    if (!mine.lost && mine === chat) notice(`This chat is not kept: ${error.message}. It stays here as long as this page is open.`);
    mine.lost = true;
  }
}

// The chat goes on in another tab as well: neither is lost.
function part(mine) {
  mine.id = crypto.randomUUID();
  delete mine.version;
  if (mine === chat) {
    history.replaceState(null, "", `#${mine.id}`);
    notice("This chat went on in another tab at the same time. What is said here is kept as a chat of its own.", [], { mild: true });
  }
  return keepNow(mine);
}

// What the page says around a conversation

function update() {
  const facts = models.facts();
  const loading = models.ready() !== null && !facts;
  $("chosen").textContent = facts?.name ?? (loading ? "Loading …" : "No model");
  $("title").textContent = chat.title;
  document.title = chat.title ? `${chat.title} · pocketlm` : "pocketlm";
  $("composer").hidden = !models.some();
  $("ideas").hidden = !models.some();
  composer.busy(writing !== null);
  const [title, words] = greeting();
  $("empty-title").textContent = title;
  $("empty-words").textContent = words;
  const context = chat.context;
  $("context").hidden = !context;
  if (!context) return;
  const used = `${context.used.toLocaleString()} of ${context.of.toLocaleString()} tokens`;
  $("context").title = `The conversation takes ${used} of the model's context`;
  $("context").querySelector(".context-words").textContent = used;
  $("context").querySelector(".context-short").textContent = `${Math.ceil((100 * context.used) / context.of)} %`;
  const part = Math.min(context.used / context.of, 1);
  const gauge = $("context").querySelector(".gauge");
  gauge.className = part > 0.9 ? "gauge full" : part > 0.75 ? "gauge nearly" : "gauge";
  gauge.firstElementChild.style.width = `${100 * part}%`;
}

function greeting() {
  if (fault) return ["There is no model here", ""];
  if (models.some()) return ["What is on your mind?", "The model runs in this browser. What you write does not leave it."];
  if (models.any()) return ["A model for your pocket", "It is downloaded once, into this browser. Then the page works without a network, and what you write does not leave it."];
  if (pocket) return ["There is no model here", "The server has none that a browser runs. On its machine, `pocketlm pull smollm2` brings one."];
  return ["A moment …", ""];
}

// Asking

async function ask({ text, at = null }) {
  const mine = chat;
  if (writing) return;
  notice();
  if (!models.ready()) {
    if (at === null) composer.fill(text);
    return notice("No model is loaded.", [textButton("Choose one", () => $("open-models").click())]);
  }
  const before = [...mine.messages];
  if (at === null) mine.messages.push({ role: "user", content: text });
  else {
    mine.messages.length = at + 1;
    if (text !== undefined) mine.messages[at] = { role: "user", content: text };
  }
  mine.title ||= titleOf(mine.messages[0].content);
  const answer = { role: "assistant", content: "", pending: true };
  const asked = [...mine.messages];
  mine.messages.push(answer);
  writing = { chat: mine, answer, abort: new AbortController() };
  talk.show(mine);
  update();
  history.replaceState(null, "", `#${mine.id}`);
  const written = await chats.hold(mine.id);
  await keep(mine);
  sidebar.refresh();
  announce("The answer is being written");
  try {
    finish(mine, answer, await write(mine, asked, answer));
  } catch (error) {
    fail(mine, answer, at === null ? mine.messages.slice(0, -1) : before, error);
  }
  delete answer.pending;
  writing = null;
  await keep(mine);
  written();
  if (mine === chat) {
    talk.speak(answer);
    talk.redraw();
  }
  update(); // whatever chat is shown, the engine is free
  sidebar.refresh();
}

// The engine's answer while it grows; returns its figures.
async function write(mine, asked, answer) {
  const { signal } = writing.abort;
  const shown = () => mine === chat;
  if (!models.facts()) talk.wait(answer, "Loading the model …");
  const facts = await models.ready();
  mine.model = answer.model = facts.name;
  talk.wait(answer, "Reading …");
  const onProgress = (done, total) => {
    if (shown() && done < total) talk.wait(answer, `Reading ${done.toLocaleString()} of ${total.toLocaleString()} tokens`, done / total);
  };
  // The tokens of an answer are another model's words, or none after it was changed.
  const turns = asked.map(({ role, content, tokens, model }) => ({ role, content, ...(tokens && model === facts.name ? { tokens } : {}) }));
  const pieces = pocket.chat(turns, { ...settings.sampling(), onProgress }, signal);
  let saved = performance.now();
  let drawing = false;
  let took = 0;
  const draw = () => {
    drawing = false;
    if (!answer.pending || !shown()) return;
    const begun = performance.now();
    talk.grow(answer);
    took = performance.now() - begun;
  };
  for (;;) {
    const { done, value } = await pieces.next();
    if (done) return value;
    answer.content += value;
    if (!drawing) {
      drawing = true;
      setTimeout(draw, Math.max(FRAME, 4 * took)); // the rest of the page has time, however long a paragraph is
    }
    if (performance.now() - saved > SAVING) {
      saved = performance.now();
      keep(mine);
    }
  }
}

function finish(mine, answer, figures) {
  const { reason, tokens, prompt_tokens, answer_tokens, dropped, seconds } = figures;
  mine.context = { used: prompt_tokens + answer_tokens, of: models.facts().context };
  answer.tokens = tokens;
  const rate = seconds > 0 ? answer_tokens / seconds : 0;
  answer.figures = `${answer_tokens.toLocaleString()} token${answer_tokens === 1 ? "" : "s"}${rate ? `, ${rate < 10 ? rate.toFixed(1) : Math.round(rate)} a second` : ""}`;
  const notes = [];
  if (dropped) notes.push(`The context is full: the oldest ${dropped === 1 ? "turn no longer fits" : `${dropped} turns no longer fit`} into it. The model does not see what was said there.`);
  if (reason === "cancelled") notes.push("Stopped.");
  if (reason === "length") notes.push("Cut: the longest answer is reached (settings).");
  if (reason === "context") notes.push("Cut: the end of the context is reached.");
  answer.note = notes.join(" ");
}

// What was written stays; where nothing was, it is as it was before.
function fail(mine, answer, before, error) {
  if (answer.content) {
    answer.error = error.message;
    return;
  }
  mine.messages = before;
  if (mine === chat) failed(error);
}

function titleOf(text) {
  const line = text.trim().split("\n")[0];
  return line.length > 60 ? `${line.slice(0, 59)}…` : line;
}

function stop() {
  writing?.abort.abort();
}

// What went wrong, above the message that is being written

function notice(words = "", buttons = [], options = {}) {
  const close = textButton("Close", () => notice());
  $("notice").hidden = !words;
  $("notice").replaceChildren(...(words ? [card(words, [...buttons, close], options)] : []));
}

function failed(error) {
  const help = {
    context: ["New chat", startNew],
    storage: ["Storage", () => $("open-models").click()],
    damaged: ["Models", () => $("open-models").click()],
    memory: ["Models", () => $("open-models").click()],
    missing: ["Models", () => $("open-models").click()],
  }[error.code];
  notice(error.message, help ? [textButton(...help)] : []);
}

// Keys

function keys(event) {
  const command = event.ctrlKey || event.metaKey;
  const typing = event.target.matches?.("input, textarea, select");
  const dialog = document.querySelector("dialog[open], [popover]:popover-open");
  if (dialog) return;
  if (event.key === "Escape") {
    if (document.body.classList.contains("side-open")) closeSide();
    else if (writing) stop();
    else if (!$("notice").hidden) notice();
    else return;
  } else if (command && event.shiftKey && event.key.toLowerCase() === "o") startNew();
  else if (command && event.key === ",") $("settings").showModal();
  else if (event.key === "/" && !typing && !command) $("prompt").focus();
  else return;
  event.preventDefault();
}

function openSide() {
  document.body.classList.add("side-open");
  $("open-side").setAttribute("aria-expanded", "true");
  $("close-side").focus();
}

function closeSide() {
  document.body.classList.remove("side-open");
  $("open-side").setAttribute("aria-expanded", "false");
  if ($("side").contains(document.activeElement)) $("open-side").focus();
}

// The beginning

function theme() {
  const chosen = settings.recall("pocketlm-theme") ?? "system";
  for (const radio of document.querySelectorAll("#theme input")) {
    radio.checked = radio.value === chosen;
    radio.addEventListener("change", () => {
      settings.remember("pocketlm-theme", radio.value);
      if (radio.value === "system") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = radio.value;
    });
  }
}

function install() {
  let asking = null;
  addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    asking = event;
    $("install").hidden = false;
  });
  $("install").addEventListener("click", async () => {
    $("install").hidden = true;
    await asking.prompt();
  });
}

function askForKey(wrong) {
  const dialog = $("ask-key");
  $("key-wrong").textContent = wrong ? "This was not the key." : "";
  $("key").value = "";
  dialog.oncancel = (event) => event.preventDefault();
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve($("key").value), { once: true }));
}

// Start the engine and list the models; the key is asked for where the server wants one.
async function start() {
  fault = null;
  notice();
  try {
    if (!isSecureContext) {
      throw new PocketError("unsupported", "This page came over plain http from another machine, and browsers let no such page keep a model. Open it over https, or on this very machine as http://localhost. docs/browser.md tells how a phone gets there.");
    }
    for (;;) {
      const key = sessionStorage.getItem(KEY);
      pocket?.close();
      pocket = new Pocket({ key });
      try {
        await models.refresh(pocket);
        break;
      } catch (error) {
        if (error.code !== "key") throw error;
        sessionStorage.setItem(KEY, await askForKey(Boolean(key)));
      }
    }
    update();
    composer.focus();
    await models.useAny();
  } catch (error) {
    fault = error;
    notice(error.message, [textButton("Try again", start)]);
  }
  update();
}

async function begin() {
  theme();
  install();
  settings.begin();
  sidebar.begin({
    current: () => chat.id,
    failed: (words) => notice(words),
    deleted: gone,
  });
  chats.watch(changed);
  composer.begin({ send: (text) => ask({ text }), stop, editLast: talk.editLast });
  talk.begin({ again: (at) => ask({ at }), edit: (at, text) => ask({ at, text }), isBusy: () => writing !== null });
  models.begin({ changed: update });
  for (const idea of IDEAS) {
    $("ideas").append(h("li", {}, textButton(idea, () => {
      composer.fill(idea);
      $("prompt").focus();
    })));
  }
  for (const id of ["new", "new-too"]) $(id).addEventListener("click", startNew);
  $("open-settings").addEventListener("click", () => $("settings").showModal());
  $("open-side").addEventListener("click", openSide);
  for (const id of ["close-side", "shade"]) $(id).addEventListener("click", closeSide);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    $("prompt").focus();
  });
  addEventListener("keydown", keys);
  addEventListener("hashchange", route);
  // A phone may end a page that is not looked at.
  addEventListener("visibilitychange", () => document.hidden && writing && keep(writing.chat));
  addEventListener("beforeunload", (event) => chat.lost && event.preventDefault());
  talk.show(chat);
  sidebar.refresh();
  route();
  await offline.settle((change) => notice("A newer version of this page is here.", [textButton("Use it", change)], { mild: true }));
  await start();
}

begin();
