// Which model answers, and how: the picker, the system prompt, the sampling fields.

import { get } from "./api.js";
import { $, h } from "./dom.js";

const FIELDS = [
  { name: "temperature", label: "Temperature", hint: "0: the likeliest words", min: 0, max: 100, step: 0.05 },
  { name: "max_tokens", label: "Longest answer", hint: "in tokens", min: 1, step: 1 },
  { name: "top_p", label: "Top p", hint: "share of likeliest", min: 0.01, max: 1, step: 0.01 },
  { name: "top_k", label: "Top k", hint: "the k likeliest; 0: all", min: 0, step: 1 },
  { name: "min_p", label: "Min p", hint: "of the likeliest", min: 0, max: 1, step: 0.01 },
  { name: "repetition_penalty", label: "Repetition", hint: "penalty; 1: none", min: 0.01, max: 100, step: 0.01 },
  { name: "frequency_penalty", label: "Frequency", hint: "penalty for each time", min: -2, max: 2, step: 0.05 },
  { name: "presence_penalty", label: "Presence", hint: "penalty, once", min: -2, max: 2, step: 0.05 },
  { name: "seed", label: "Seed", hint: "the same seed, the same text", min: 0, step: 1 },
];
const PLAIN = { top_p: 1, top_k: 0, min_p: 0, repetition_penalty: 1, frequency_penalty: 0, presence_penalty: 0 };
const inputs = new Map();
let models = [];
let defaults = {};
let usual = null;

export function begin() {
  for (const { name, label, hint, ...range } of FIELDS) {
    const input = h("input", { type: "number", inputMode: "decimal", ...strings(range) });
    inputs.set(name, input);
    $("sampling").append(h("label", { className: "field" }, h("span", {}, label, h("span", { className: "hint" }, hint)), input));
  }
  $("model").addEventListener("change", () => {
    remember("pocketlm-model", $("model").value);
    hints();
  });
  $("reset-settings").addEventListener("click", () => {
    for (const input of inputs.values()) input.value = "";
    $("system").value = "";
  });
}

// Ask what there is; also what else the server said of itself.
export async function refresh() {
  const found = await get("/ui/models");
  models = found.models;
  defaults = found.sampling;
  usual = found.default;
  const chosen = $("model").value || recall("pocketlm-model");
  const option = ({ name }) => h("option", { value: name }, name);
  const presets = models.filter((model) => model.preset);
  const plain = models.filter((model) => !model.preset);
  const groups = presets.length
    ? [group("Models", plain.map(option)), group("Presets", presets.map(option))]
    : plain.map(option);
  $("model").replaceChildren(...groups);
  choose(chosen);
  return found;
}

// Choose a model by its name; one that is not here leaves the server's own.
export function choose(name) {
  const known = models.some((model) => model.name === name);
  $("model").value = known ? name : usual;
  hints();
}

export const model = () => $("model").value || null;

// The system prompt as it was typed; null leaves it to the preset.
export const system = () => {
  const text = $("system").value;
  return text === "" && preset()?.system ? null : text;
};

export function setSystem(text) {
  $("system").value = text === preset()?.system ? "" : (text ?? "");
}

export function sampling() {
  const said = {};
  for (const [name, input] of inputs) {
    if (input.value !== "" && input.checkValidity()) said[name] = Number(input.value);
  }
  return said;
}

const preset = () => models.find((each) => each.name === model() && each.preset);

// What holds where nothing is typed.
function hints() {
  const own = preset()?.sampling ?? {};
  const holds = { ...PLAIN, ...("temperature" in own ? {} : defaults), ...own };
  for (const [name, input] of inputs) {
    input.placeholder = String(holds[name] ?? { max_tokens: "no limit", seed: "any" }[name] ?? "");
  }
  $("system").placeholder = preset()?.system ?? "How the assistant should be, for this chat";
}

const group = (label, options) => h("optgroup", { label }, ...options);
const strings = (range) => Object.fromEntries(Object.entries(range).map(([name, value]) => [name, String(value)]));

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
