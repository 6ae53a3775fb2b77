// The list of chats: searched, opened, renamed, exported, deleted.

import { get, post, request } from "./api.js";
import { $, confirmed, download, h, iconButton, openMenu } from "./dom.js";

const PAGE = 100;
let limit = PAGE;
let asked = 0; // only the answer to the last question is shown
let chats = [];
let hooks;
const items = new Map(); // of each chat, as long as it looks the same: a menu may be open at it

// `hooks` are current() (a chat's number), renamed(id, title), deleted(id) and failed(error).
export function begin(given) {
  hooks = given;
  let waiting;
  $("search").addEventListener("input", () => {
    clearTimeout(waiting);
    limit = PAGE;
    waiting = setTimeout(refresh, 150);
  });
  $("search").addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "Enter") {
      event.preventDefault();
      $("chats").querySelector("a")?.focus();
    }
  });
  $("chats").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !(event.target instanceof HTMLAnchorElement)) return;
    event.preventDefault();
    const links = [...$("chats").querySelectorAll("a")];
    const next = links[links.indexOf(event.target) + step];
    (next ?? (step < 0 ? $("search") : null))?.focus();
  });
}

export async function refresh() {
  const mine = ++asked;
  const query = $("search").value.trim();
  try {
    const found = await get(`/ui/chats?limit=${limit}&query=${encodeURIComponent(query)}`);
    if (mine !== asked) return;
    chats = found.chats;
    draw(query);
  } catch (error) {
    hooks.failed(error);
  }
}

export function titleOf(id) {
  return chats.find((chat) => chat.id === id)?.title ?? "";
}

export function mark() {
  for (const item of $("chats").querySelectorAll("li")) {
    const open = Number(item.dataset.id) === hooks.current();
    item.classList.toggle("open", open);
    if (open) item.querySelector("a")?.setAttribute("aria-current", "page");
    else item.querySelector("a")?.removeAttribute("aria-current");
  }
}

function draw(query) {
  const list = $("chats");
  if (list.querySelector("li input")) return; // a name is being written; then it is drawn again
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const groups = new Map();
  for (const chat of chats) {
    const name = query ? "Found" : day(chat.updated);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(chat);
  }
  list.replaceChildren();
  for (const [name, members] of groups) {
    list.append(h("h2", {}, name), h("ul", {}, ...members.map(itemOf)));
  }
  if (!chats.length) {
    list.append(h("p", { className: "nothing" }, query ? "No chat holds these words." : "Your chats will be here, and in the terminal's history."));
  }
  if (chats.length >= limit) {
    list.append(h("button", { type: "button", className: "more", onclick: () => { limit *= 4; refresh(); } }, "Show earlier ones"));
  }
  const id = focused?.closest("li")?.dataset.id;
  if (focused?.isConnected) focused.focus();
  else if (id) list.querySelector(`li[data-id="${id}"] a`)?.focus();
  mark();
}

function itemOf(chat) {
  const looks = JSON.stringify([chat.title, chat.excerpt]);
  if (items.get(chat.id)?.looks !== looks) items.set(chat.id, { looks, item: entry(chat) });
  return items.get(chat.id).item;
}

function entry(chat) {
  const title = chat.title || "Untitled";
  const link = h("a", { href: `#${chat.id}`, title },
    h("span", {}, title),
    chat.excerpt ? h("span", { className: "excerpt" }, chat.excerpt.replace(/\s+/g, " ")) : null,
  );
  const more = iconButton("more", `More about ${title}`, () => openMenu(more, [
    ["Rename", () => rename(item, chat)],
    ["Export as Markdown", () => save(chat, "md")],
    ["Export as JSON", () => save(chat, "json")],
    ["Delete", () => remove(chat), true],
  ]));
  more.setAttribute("aria-haspopup", "menu");
  const item = h("li", {}, link, more);
  item.dataset.id = chat.id;
  return item;
}

function day(seconds) {
  const midnight = new Date();
  midnight.setHours(0, 0, 0, 0);
  const days = Math.ceil((midnight - seconds * 1000) / 86_400_000);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days <= 7) return "This week";
  return new Date(seconds * 1000).toLocaleDateString(undefined, { month: "long", year: "numeric" });
}

function rename(item, chat) {
  const input = h("input", { value: chat.title, maxLength: 200, "aria-label": "The chat's name" });
  const link = item.querySelector("a");
  let over = false;
  const end = async (keep) => {
    if (over) return;
    over = true;
    input.replaceWith(link);
    link.focus();
    const title = input.value.trim();
    try {
      if (keep && title && title !== chat.title) {
        await post(`/ui/chats/${chat.id}`, { title });
        hooks.renamed(chat.id, title);
      }
      await refresh();
    } catch (error) {
      hooks.failed(error);
    }
  };
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter") end(true);
    if (event.key === "Escape") end(false);
    event.stopPropagation();
  });
  input.addEventListener("blur", () => end(true));
  link.replaceWith(input);
  input.select();
}

async function save(chat, form) {
  try {
    const response = await request("GET", `/ui/chats/${chat.id}/export.${form}`);
    const name = (chat.title.replace(/[^\p{L}\p{N} _-]+/gu, "").trim() || "chat").slice(0, 60);
    download(`${name}.${form}`, await response.blob());
  } catch (error) {
    hooks.failed(error);
  }
}

async function remove(chat) {
  const words = `“${chat.title}” is deleted from this machine, for the terminal too.`;
  if (!(await confirmed("Delete this chat?", words, "Delete"))) return;
  try {
    await request("DELETE", `/ui/chats/${chat.id}`);
    hooks.deleted(chat.id);
    await refresh();
  } catch (error) {
    hooks.failed(error);
  }
}
