// Small things for the document: elements, icons, words for screen readers, copies, downloads.

export const $ = (id) => document.getElementById(id);

// An element with properties (`on…` listens, what holds a hyphen or is `role` is an attribute).
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function icon(name) {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("class", "icon");
  picture.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  picture.append(use);
  return picture;
}

export function iconButton(name, label, onclick) {
  return h("button", { type: "button", className: "quiet", "aria-label": label, title: label, onclick }, icon(name));
}

// Words for who hears the page, one after another.
export function announce(text) {
  const words = text.trim();
  if (!words) return;
  const live = $("live");
  live.append(h("p", {}, words));
  while (live.childElementCount > 12) live.firstElementChild.remove();
}

export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyTheOldWay(text);
  }
  const picture = button.querySelector(".icon use");
  picture.setAttribute("href", "#i-done");
  announce("Copied");
  setTimeout(() => picture.setAttribute("href", "#i-copy"), 1500);
}

// Where the page has no encrypted connection, browsers offer nothing else.
function copyTheOldWay(text) {
  const area = h("textarea", { value: text, className: "unseen", readOnly: true });
  const before = document.activeElement;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  before?.focus();
}

export function download(name, blob) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

// Ask whether something is to be done that cannot be undone.
export function confirmed(title, words, yes) {
  const dialog = $("confirm");
  $("confirm-title").textContent = title;
  $("confirm-words").textContent = words;
  $("confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// A menu beside a button: entries are [label, action, risky].
export function openMenu(button, entries) {
  const menu = $("menu");
  const items = entries.map(([label, act, risky]) =>
    h("button", {
      type: "button",
      role: "menuitem",
      className: risky ? "risky" : "",
      onclick: () => {
        menu.hidePopover();
        act();
      },
    }, label),
  );
  menu.replaceChildren(...items);
  menu.onkeydown = (event) => {
    const at = items.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    items.at(to % items.length).focus();
  };
  menu.ontoggle = (event) => {
    button.setAttribute("aria-expanded", String(event.newState === "open"));
    if (event.newState === "closed" && menu.contains(document.activeElement)) button.focus();
  };
  menu.showPopover();
  const place = button.getBoundingClientRect();
  const left = Math.min(place.left, innerWidth - menu.offsetWidth - 8);
  const below = place.bottom + 4;
  const top = below + menu.offsetHeight > innerHeight ? place.top - menu.offsetHeight - 4 : below;
  menu.style.left = `${Math.max(left, 8)}px`;
  menu.style.top = `${Math.max(top, 8)}px`;
  items[0].focus();
}

export function card(words, buttons = [], { mild = false } = {}) {
  return h("div", { className: mild ? "card mild" : "card", role: "alert" }, h("p", {}, words), ...buttons);
}

export function textButton(label, onclick, className = "") {
  return h("button", { type: "button", className, onclick }, label);
}
