// What the page adds to code and tables: a caption with a button to copy, room to scroll.

import { copy, h, icon } from "./dom.js";

export function frameCode(code) {
  const pre = code.parentElement;
  const language = code.className.replace(/^language-/, "") || "text";
  const copying = h("button", { type: "button", className: "quiet", "aria-label": "Copy the code", onclick: () => copy(code.textContent, copying) }, icon("copy"), "Copy");
  const figure = h("figure", {}, h("figcaption", {}, h("span", {}, language), copying));
  pre.tabIndex = 0;
  pre.replaceWith(figure);
  figure.append(pre);
}

export function frameTable(table) {
  const frame = h("div", { className: "table", role: "region", "aria-label": "Table", tabIndex: 0 });
  table.replaceWith(frame);
  frame.append(table);
}
