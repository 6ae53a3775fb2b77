// The switches beside the message: whether questions are looked up, and whether tools are called.

import { $ } from "./dom.js";
import { recall, remember } from "./settings.js";

const PLACES = { docs: "your documents", wiki: "the encyclopedia", web: "the web" };
const offered = { search: [], tools: [] }; // what the server does
let changed;

// `hook` is told when a switch was pressed.
export function begin(hook) {
  changed = hook;
  for (const name of ["search", "tools"]) {
    button(name).addEventListener("click", () => {
      remember(`pocketlm-${name}`, isOn(name) ? "off" : "on");
      press(name, !isOn(name));
      changed();
    });
  }
}

// Show the switches for what the server offers.
export function offer({ search, tools }) {
  Object.assign(offered, { search, tools });
  const words = {
    search: `Search ${listed(search.map((place) => PLACES[place] ?? place))}`,
    tools: `Tools: ${tools.join(", ")}`,
  };
  for (const name of ["search", "tools"]) {
    button(name).hidden = !offered[name].length;
    button(name).title = words[name];
    button(name).setAttribute("aria-label", words[name]);
    press(name, recall(`pocketlm-${name}`) === "on");
  }
  changed();
}

export const isOn = (name) => offered[name].length > 0 && button(name).getAttribute("aria-pressed") === "true";

export const asksTheWeb = () => isOn("search") && offered.search.includes("web");

// What is on, in words that are seen.
export function hint() {
  return isOn("search") ? `Questions are looked up in ${listed(offered.search.map((place) => PLACES[place] ?? place))}` : "";
}

const button = (name) => $(`${name}-switch`);
const press = (name, on) => button(name).setAttribute("aria-pressed", String(on));
const listed = (words) => words.join(", ").replace(/, ([^,]*)$/, " and $1");
