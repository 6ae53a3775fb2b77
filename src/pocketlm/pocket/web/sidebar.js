// The list of chats: opened, saved as Markdown, deleted.

import * as chats from "./chats.js";
import { $, confirmed, download, h, iconButton, openMenu } from "../../serve/page/dom.js";

let hooks;
let drawn = ""; // what the list shows

/** @param {{ current: () => string | null, deleted: (id: string) => void, failed: (words: string) => void }} given */
export function begin(given) {
  hooks = given;
  $("chats").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !(event.target instanceof HTMLAnchorElement)) return;
    event.preventDefault();
    const links = [...$("chats").querySelectorAll("a")];
    links[links.indexOf(event.target) + step]?.focus();
  });
}

export async function refresh() {
  let found;
  try {
    found = await chats.all();
  } catch {
    return; // it was said where a chat could not be kept
  }
  // A list that is drawn anew while another tab writes would escape whoever wants to click on it.
  const shown = JSON.stringify(found.map((chat) => [chat.id, chat.title, day(chat.updated), chat.id === hooks.current()]));
  if (shown === drawn) return;
  drawn = shown;
  const groups = new Map();
  for (const chat of found) {
    const name = day(chat.updated);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(chat);
  }
  const lists = [...groups].flatMap(([name, members]) => [h("h2", {}, name), h("ul", {}, ...members.map(entry))]);
  $("chats").replaceChildren(...(lists.length ? lists : [h("p", { className: "nothing" }, "Your chats will be here. This browser keeps them, and nobody else.")]));
}

function entry(chat) {
  const title = chat.title || "Untitled";
  const link = h("a", { href: `#${chat.id}`, title }, h("span", {}, title));
  const more = iconButton("more", `More about ${title}`, () => openMenu(more, [
    ["Save as Markdown", () => save(chat.id)],
    ["Delete", () => remove(chat), true],
  ]));
  more.setAttribute("aria-haspopup", "menu");
  const open = chat.id === hooks.current();
  if (open) link.setAttribute("aria-current", "page");
  return h("li", { className: open ? "open" : "" }, link, more);
}

function day(when) {
  const midnight = new Date();
  midnight.setHours(0, 0, 0, 0);
  const days = Math.ceil((midnight - when) / 86_400_000);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days <= 7) return "This week";
  return new Date(when).toLocaleDateString(undefined, { month: "long", year: "numeric" });
}

async function save(id) {
  let chat;
  try {
    chat = await chats.get(id);
  } catch (error) {
    return hooks.failed(`The chat cannot be read: ${error.message}.`);
  }
  if (!chat) return refresh(); // another tab removed it
  const turns = chat.messages.map(({ role, content }) => `## ${role === "user" ? "You" : "Answer"}\n\n${content}\n`);
  const name = (chat.title.replace(/[^\p{L}\p{N} _-]+/gu, "").trim() || "chat").slice(0, 60);
  download(`${name}.md`, new Blob([`# ${chat.title}\n\n`, turns.join("\n")], { type: "text/markdown" }));
}

async function remove(chat) {
  if (!(await confirmed("Delete this chat?", `“${chat.title || "Untitled"}” is deleted from this browser.`, "Delete"))) return;
  try {
    await chats.remove(chat.id);
    hooks.deleted(chat.id);
  } catch (error) {
    hooks.failed(`The chat could not be deleted: ${error.message}.`);
  }
  await refresh();
}
