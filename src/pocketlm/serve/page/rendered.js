// The one place where text becomes HTML: what the server rendered and sanitised.

import { h } from "./dom.js";

const policy = globalThis.trustedTypes?.createPolicy("rendered", { createHTML: (html) => html });

export function rendered(html) {
  const block = h("div", { className: "block" });
  block.innerHTML = policy ? policy.createHTML(html) : html;
  return block;
}
