// The page: which chat is open, what is asked, and what the keyboard does.

import * as assist from "./assist.js";
import * as composer from "./composer.js";
import * as settings from "./settings.js";
import * as sidebar from "./sidebar.js";
import * as talk from "./talk.js";
import { events, get, onKeyWanted, post } from "./api.js";
import { $, announce, card, confirmed, h, textButton } from "./dom.js";

const IDEAS = ["Explain photosynthesis to a child", "Write a polite reminder by mail", "Name three ideas for a rainy day"];

// A chat: `id` is its number in the history, null where it is not there (yet). What is not kept
// (`keep` is false, or `lost`: it could not be written) is sent along with each question.
const fresh = (keep = true) => ({
  id: null, revision: 0, title: "", keep, lost: false, messages: [], context: null, writing: null,
});

let chat = fresh();
const written = new Set(); // chats with an answer under way, also those that are not shown

// Opening

let opening = 0; // only what was opened last is shown

async function open(id) {
  const mine = ++opening;
  const known = [...written].find((each) => each.id === id);
  if (known) return show(known);
  try {
    const found = await get(`/ui/chats/${id}`);
    if (mine !== opening) return;
    show({ ...fresh(), ...found });
    if (found.model) settings.choose(found.model);
    settings.setSystem(found.system);
  } catch (error) {
    if (error.code === "chat_not_found") history.replaceState(null, "", "/");
    if (mine === opening && chat.id !== id) show(fresh());
    failed(error);
  }
}

function show(given) {
  opening++;
  chat = given;
  notice();
  talk.show(chat);
  update();
  sidebar.mark();
  document.body.classList.remove("side-open");
}

function update() {
  document.body.classList.toggle("incognito", !chat.keep);
  $("incognito").setAttribute("aria-pressed", String(!chat.keep));
  const title = chat.keep ? chat.title || sidebar.titleOf(chat.id) : "Incognito";
  $("title").textContent = title;
  document.title = title ? `${title} · pocketlm` : "pocketlm";
  $("kept").textContent = [chat.keep ? "" : "Incognito: nothing of this chat is kept", assist.hint()].filter(Boolean).join(". ");
  $("empty-title").textContent = chat.keep ? "What is on your mind?" : "An incognito chat";
  $("empty-words").textContent = chat.keep
    ? `The model runs on this machine. ${assist.asksTheWeb() ? "Questions that are looked up go to a search engine; nothing else leaves it." : "What you write does not leave it."}`
    : "It is gone when you leave it: neither kept in the history nor on disk.";
  $("ideas").hidden = !chat.keep;
  composer.busy(Boolean(chat.writing));
  $("stop").disabled = false;
  const context = chat.context;
  $("context").hidden = !context;
  if (context) {
    const words = `${context.used.toLocaleString()} of ${context.of.toLocaleString()} tokens`;
    $("context").title = `The conversation takes ${words} of the model's context`;
    $("context").querySelector(".context-words").textContent = words;
    $("context").querySelector(".context-short").textContent = `${Math.ceil((100 * context.used) / context.of)} %`;
    const part = Math.min(context.used / context.of, 1);
    const gauge = $("context").querySelector(".gauge");
    gauge.className = part > 0.9 ? "gauge full" : part > 0.75 ? "gauge nearly" : "gauge";
    gauge.firstElementChild.style.width = `${100 * part}%`;
  }
}

async function leave(next) {
  if (chat.lost && chat.messages.length) {
    const words = "It could not be written to the history, and is lost when you leave it.";
    if (!(await confirmed("Leave this chat?", words, "Leave"))) return;
  }
  next();
}

function startNew(keep = true) {
  leave(() => {
    history.pushState(null, "", "/");
    show(fresh(keep));
    settings.setSystem("");
    composer.focus();
  });
}

function route() {
  const id = /^#(\d{1,15})$/.exec(location.hash)?.[1];
  if (id && Number(id) !== chat.id) leave(() => open(Number(id)));
  else if (!id && chat.id !== null) show(fresh());
}

// Asking

async function ask({ text, files = [], at = null, search = assist.isOn("search") }) {
  const mine = chat;
  if (mine.writing) return;
  notice();
  if (mine.stale && !(await reload(mine))) {
    if (at === null) composer.fill(text, files);
    return;
  }
  const before = { ...mine, messages: [...mine.messages] };
  const body = {
    answer: randomId(),
    keep: mine.keep,
    model: settings.model(),
    system: settings.system(),
    sampling: settings.sampling(),
    ...(mine.id !== null
      ? { chat: mine.id, revision: mine.revision }
      : { messages: mine.messages.map(({ role, content, sources }) => ({ role, content, sources })) }),
    ...(at === null ? {} : { at }),
    ...(text === undefined ? {} : { text }),
    files,
    search,
    tools: assist.isOn("tools"),
  };
  const answer = { role: "assistant", content: "", blocks: [], pending: true, search };
  if (mine.messages.length) mine.messages.at(-1).node = null; // it is the last one no more
  if (at === null) {
    const shown = files.map((file) => ({ name: file.name, characters: file.text.length }));
    mine.messages.push({ role: "user", content: text, text, files: shown, pending: true });
  } else {
    mine.messages.length = at + 1;
    const said = mine.messages[at];
    mine.messages[at] = { ...said, text: text ?? said.text, node: null, pending: true };
  }
  mine.messages.push(answer);
  mine.writing = { id: body.answer, answer, before, abort: new AbortController() };
  written.add(mine);
  redraw(mine);
  talk.toEnd();
  talk.wait(answer, "Waiting for the model …");
  announce("The answer is being written");
  try {
    for await (const [name, content] of events("/ui/answer", body, mine.writing.abort.signal)) {
      take(mine, answer, name, content, at !== null);
      if (name === "done") break; // what was stopped may take a while to end
    }
    if (answer.pending) throw Object.assign(new Error("The connection to the server broke."), { code: "network" });
  } catch (error) {
    giveUp(mine, answer, before, error, { text, files, at, search });
  } finally {
    written.delete(mine);
    mine.writing = null;
    if (mine === chat) update();
    sidebar.refresh();
  }
}

function take(mine, answer, name, content, again) {
  switch (name) {
    case "begin": {
      place(mine, content);
      const said = content.message;
      mine.messages.splice(said.position, mine.messages.length, { ...said, pending: true }, answer);
      answer.node = null;
      redraw(mine);
      if (mine === chat) talk.wait(answer, "Reading …");
      if (content.dropped) {
        const turns = content.dropped === 1 ? "turn no longer fits" : `${content.dropped} turns no longer fit`;
        answer.note = `The context is full: the oldest ${turns} into it. The model does not see what was said there.`;
      }
      sidebar.refresh().then(() => mine === chat && update());
      break;
    }
    case "progress":
      if (mine !== chat) break;
      if (content.words) talk.wait(answer, `${content.words.charAt(0).toUpperCase()}${content.words.slice(1)} …`);
      else if (content.done < content.total) {
        const words = `Reading ${content.done.toLocaleString()} of ${content.total.toLocaleString()} tokens`;
        talk.wait(answer, words, content.done / content.total);
      }
      break;
    case "calls":
      answer.calls = content.calls;
      if (mine === chat) talk.trace(answer);
      break;
    case "blocks":
      if (mine === chat) talk.grow(answer, content.from, content.blocks);
      else answer.blocks.splice(content.from, Infinity, ...content.blocks);
      answer.rate = content.rate;
      break;
    case "done":
      finish(mine, answer, content, again);
      break;
  }
}

function finish(mine, answer, content, again) {
  place(mine, content);
  mine.context = content.context;
  answer.pending = false;
  mine.messages.at(-2).pending = false;
  if (!content.answered) {
    announce("There is no answer");
    // What was answered before still is; a new question waits for its answer.
    if (again) mine.messages = mine.writing.before.messages;
    else mine.messages.pop();
    redraw(mine, true);
    return;
  }
  answer.content = content.content;
  answer.calls = content.calls;
  answer.sources = content.sources;
  const rate = content.rate ? `, ${content.rate < 10 ? content.rate.toFixed(1) : Math.round(content.rate)} a second` : "";
  if (content.tokens) answer.figures = `${content.tokens.toLocaleString()} token${content.tokens === 1 ? "" : "s"}${rate}`;
  const notes = answer.note ? [answer.note] : [];
  if (content.finish === "stopped") notes.push("Stopped.");
  if (answer.search && !content.sources && !content.calls.length) notes.push("Not looked up: it does not read as a question to search for.");
  if (content.finish === "length") notes.push("Cut: the longest answer, or the end of the context, is reached.");
  answer.note = notes.join(" ");
  if (mine === chat) talk.speakRest(answer);
  answer.node = null;
  mine.messages.at(-2).node = null;
  redraw(mine);
}

// Where the chat is found again. What hinders its being kept is said, and the page then holds it.
function place(mine, content) {
  if (!mine.keep) return;
  mine.lost = Boolean(content.warning);
  mine.revision = content.revision;
  if (content.warning && mine === chat) {
    notice(`This chat is not kept: ${content.warning}. It stays here as long as this window is open.`);
  }
  if (mine.id !== content.chat) {
    mine.id = content.chat;
    if (mine === chat) history.replaceState(null, "", mine.id === null ? "/" : `#${mine.id}`);
  }
}

function giveUp(mine, answer, before, error, { text, files, at, search }) {
  if (error.more && "chat" in error.more) place(mine, error.more);
  const begun = mine.revision !== before.revision || mine.id !== before.id;
  mine.stale = begun && error.code === "network" && mine.id !== null;
  answer.pending = false;
  for (const message of [...mine.messages, ...before.messages]) message.pending = false;
  if (answer.blocks.length || mine.stale) {
    answer.content = error.more?.content ?? talk.wordsOf(answer);
    answer.error = error.name === "AbortError" ? "Stopped." : error.message;
    redraw(mine, true);
    return;
  }
  mine.messages = before.messages;
  if (mine !== chat) return;
  redraw(mine, true);
  if (at === null) composer.fill(text, files);
  if (error.code === "chat_changed") {
    reload(mine);
    notice("This chat went on elsewhere meanwhile. It is shown as it is now.");
  } else if (error.name !== "AbortError") {
    const retry = (more) => {
      if (at === null) composer.fill("");
      ask({ text, files, at, ...more });
    };
    const buttons = [textButton("Try again", () => retry())];
    if (search) buttons.push(textButton("Answer without search", () => retry({ search: false })));
    notice(error.message, buttons);
  }
}

// The chat as the server has it now; whether it could be had.
async function reload(mine) {
  try {
    Object.assign(mine, await get(`/ui/chats/${mine.id}`), { stale: false });
  } catch (error) {
    if (error.code !== "chat_not_found") {
      notice(error.message);
      return false;
    }
    Object.assign(mine, { id: null, revision: 0, stale: false });
  }
  redraw(mine, true);
  return true;
}

// Answer a message again. Where the connection broke, the server may have the answer already.
async function again(at, more = {}) {
  if (chat.stale) {
    if (!(await reload(chat)) || chat.messages.at(-1)?.role !== "user") return;
    at = chat.messages.length - 1;
  }
  ask({ at, ...more });
}

function redraw(mine, all = false) {
  if (mine !== chat) return;
  if (all) for (const message of mine.messages) message.node = null;
  talk.redraw();
  update();
}

async function stop() {
  const writing = chat.writing;
  if (!writing) return;
  $("stop").disabled = true;
  // The server ends the answer and keeps it; where it does not, the page goes away from it.
  setTimeout(() => writing.answer.pending && writing.abort.abort(), 5000);
  try {
    const { stopped } = await post("/ui/stop", { answer: writing.id });
    if (!stopped && writing.answer.pending) writing.abort.abort();
  } catch {
    writing.abort.abort();
  }
}

function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// What went wrong, above the message that is being written

function notice(words = "", buttons = []) {
  const close = textButton("Close", () => notice());
  $("notice").hidden = !words;
  $("notice").replaceChildren(...(words ? [card(words, [...buttons, close])] : []));
}

function failed(error) {
  notice(error.message);
}

// Keys

function keys(event) {
  const command = event.ctrlKey || event.metaKey;
  const typing = event.target.matches?.("input, textarea, select");
  const dialog = document.querySelector("dialog[open], [popover]:popover-open");
  if (event.key === "Escape" && !dialog) {
    if (document.body.classList.contains("side-open")) closeSide();
    else if (event.target === $("search") && $("search").value) return;
    else if (chat.writing) stop();
    else if (!$("notice").hidden) notice();
    else return;
    event.preventDefault();
  } else if (dialog) {
    return;
  } else if (command && event.key.toLowerCase() === "k") {
    event.preventDefault();
    openSide();
    $("search").select();
  } else if (command && event.shiftKey && event.key.toLowerCase() === "o") {
    event.preventDefault();
    startNew();
  } else if (command && event.key === ",") {
    event.preventDefault();
    $("settings").showModal();
  } else if (event.key === "/" && !typing && !command) {
    event.preventDefault();
    $("prompt").focus();
  }
}

function openSide() {
  document.body.classList.add("side-open");
  $("open-side").setAttribute("aria-expanded", "true");
}

function closeSide() {
  document.body.classList.remove("side-open");
  $("open-side").setAttribute("aria-expanded", "false");
  if ($("side").contains(document.activeElement)) $("open-side").focus();
}

// The beginning

function askForKey(wrong) {
  const dialog = $("ask-key");
  $("key-wrong").textContent = wrong ? "This was not the key." : "";
  $("key").value = "";
  if (!dialog.open) dialog.showModal();
  dialog.oncancel = (event) => event.preventDefault();
  return (asking ??= new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      asking = null;
      resolve($("key").value);
    }, { once: true });
  }));
}
let asking = null;

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

async function begin() {
  theme();
  onKeyWanted(askForKey);
  settings.begin();
  assist.begin(update);
  sidebar.begin({
    current: () => chat.id,
    failed,
    renamed(id, title) {
      if (id === chat.id) chat.title = title;
      update();
    },
    deleted(id) {
      if (id !== chat.id) return;
      history.replaceState(null, "", "/");
      show(fresh());
    },
  });
  composer.begin({
    send: (text, files) => ask({ text, files }),
    stop,
    editLast: talk.editLast,
    failed: (words) => notice(words),
  });
  talk.begin({
    again,
    edit: (at, text) => ask({ at, text }),
    isBusy: () => Boolean(chat.writing),
  });
  for (const idea of IDEAS) {
    $("ideas").append(h("li", {}, textButton(idea, () => {
      composer.fill(idea);
      $("prompt").focus();
    })));
  }
  $("new").addEventListener("click", () => startNew());
  $("incognito").addEventListener("click", () => startNew(!chat.keep));
  $("open-settings").addEventListener("click", () => $("settings").showModal());
  $("open-keys").addEventListener("click", () => $("keys").showModal());
  $("open-side").addEventListener("click", () => {
    openSide();
    $("close-side").focus();
  });
  $("close-side").addEventListener("click", closeSide);
  $("shade").addEventListener("click", closeSide);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    $("prompt").focus();
  });
  addEventListener("keydown", keys);
  addEventListener("hashchange", route);
  addEventListener("beforeunload", (event) => chat.lost && chat.messages.length && event.preventDefault());
  show(chat);
  await load();
}

async function load() {
  try {
    assist.offer(await settings.refresh());
    await sidebar.refresh();
    route();
    composer.focus();
  } catch (error) {
    notice(error.message, [textButton("Try again", () => { notice(); load(); })]);
  }
}

begin();
