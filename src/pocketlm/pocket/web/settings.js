// How answers are chosen: the system prompt and the sampling fields, remembered by this browser.

import { CHAT_SAMPLING } from "./client.js";
import { $, h } from "../../serve/page/dom.js";

const KEPT = "pocketlm-pocket-settings";
const FIELDS = [
  { name: "temperature", label: "Temperature", hint: "0: the likeliest words", min: 0, max: 100, step: 0.05 },
  { name: "max_tokens", label: "Longest answer", hint: "in tokens", min: 1, step: 1 },
  { name: "top_p", label: "Top p", hint: "share of likeliest", min: 0.01, max: 1, step: 0.01 },
  { name: "min_p", label: "Min p", hint: "of the likeliest", min: 0, max: 1, step: 0.01 },
  { name: "frequency_penalty", label: "Frequency", hint: "penalty for each time", min: -2, max: 2, step: 0.05 },
  { name: "seed", label: "Seed", hint: "the same seed, the same text", min: 0, step: 1 },
];
const USUAL = { min_p: 0, max_tokens: "no limit", seed: "any", ...CHAT_SAMPLING };
const inputs = new Map();

export function begin() {
  for (const { name, label, hint, ...range } of FIELDS) {
    const input = h("input", { type: "number", inputMode: "decimal", placeholder: String(USUAL[name]) });
    for (const [side, value] of Object.entries(range)) input[side] = String(value);
    inputs.set(name, input);
    $("sampling").append(h("label", { className: "field" }, h("span", {}, label, h("span", { className: "hint" }, hint)), input));
  }
  const kept = JSON.parse(recall(KEPT) ?? "{}");
  for (const [name, input] of inputs) input.value = kept[name] ?? "";
  $("system").value = kept.system ?? "";
  $("settings").addEventListener("input", changed);
  $("reset-settings").addEventListener("click", () => {
    for (const input of [...inputs.values(), $("system")]) input.value = "";
    changed();
  });
}

function changed() {
  const texts = Object.fromEntries([...inputs].map(([name, input]) => [name, input.value]));
  remember(KEPT, JSON.stringify({ ...texts, system: $("system").value }));
}

/** For `Pocket.chat`: what was typed, and where nothing was, what talk has on the desktop. */
export function sampling() {
  const said = {};
  for (const [name, input] of inputs) {
    if (input.value !== "" && input.checkValidity()) said[name] = Number(input.value);
  }
  const system = $("system").value;
  return { ...CHAT_SAMPLING, ...said, ...(system ? { system } : {}) };
}

export function recall(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Storage may be forbidden: then it holds for this window.
  }
}
