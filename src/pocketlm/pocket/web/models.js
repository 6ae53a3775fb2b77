// The models: what the server offers and what this browser keeps; fetched, loaded and removed.
//
// They are listed in the middle of the page as long as none is here, and in a sheet of their own from then on.

import { inWords } from "./client.js";
import { $, announce, confirmed, h, textButton } from "../../serve/page/dom.js";
import { recall, remember } from "./settings.js";

const CHOSEN = "pocketlm-pocket-model";

/**
 * A model as it is listed.
 * @typedef {Object} Listed
 * @property {string} name
 * @property {string} title
 * @property {number} bytes
 * @property {import("./client.js").Entry | null} entry  what the server offers; null where it does not, or is not there
 * @property {number} have  bytes that are here
 * @property {boolean} complete
 * @property {boolean} stale  the server has another file of that name
 * @property {"" | "coming" | "loading" | "ready"} doing
 * @property {number} part  of what is being done, from 0 to 1
 * @property {string} speed  of a download
 * @property {Error | null} error  how what was done last failed
 * @property {AbortController | null} abort
 * @property {HTMLElement} node
 */

let pocket;
let hooks;
let loaded = null; // facts of what is loaded
let loading = null; // a promise of it
/** @type {Map<string, Listed>} */
let models = new Map();

/** @param {{ changed: () => void }} given  told when another model is loaded, or the first or the last is here. */
export function begin(given) {
  hooks = given;
  $("open-models").addEventListener("click", () => {
    usage();
    $("models-sheet").showModal();
  });
  addEventListener("online", () => {
    for (const model of models.values()) if (model.error?.code === "network") bring(model);
  });
}

export const facts = () => loaded;
export const some = () => [...models.values()].some((model) => model.complete);
export const any = () => models.size > 0;

/** What is being loaded or is; null where there is nothing to load. @returns {Promise<object> | null} */
export const ready = () => loading ?? (loaded && Promise.resolve(loaded));

/** List what there is, with `given` from now on. Throws what hinders that. @param {import("./client.js").Pocket} given */
export async function refresh(given = pocket) {
  pocket = given;
  const [offered, stored] = await Promise.allSettled([pocket.catalogue(), pocket.stored()]);
  if (stored.status === "rejected") throw stored.reason;
  if (offered.status === "rejected" && (offered.reason.code === "key" || !stored.value.length)) throw offered.reason;
  const found = new Map();
  const listed = (name, title, bytes) => {
    const known = models.get(name) ?? { name, have: 0, complete: false, doing: "", part: 0, speed: "", error: null, abort: null };
    const model = Object.assign(known, { title, bytes, entry: null, stale: false });
    model.node ??= h("li", { className: "model" });
    found.set(name, model);
    return model;
  };
  for (const { name, title, bytes, have, complete } of stored.value) Object.assign(listed(name, title || name, bytes), { have, complete });
  for (const entry of offered.value ?? []) {
    const kept = stored.value.find(({ name }) => name === entry.name);
    Object.assign(listed(entry.name, entry.title, entry.bytes), {
      entry,
      have: kept?.have ?? 0,
      complete: kept?.complete ?? false,
      stale: Boolean(kept?.complete && kept.sha256 !== entry.sha256),
    });
  }
  models = found;
  $("models").replaceChildren(...[...models.values()].map((model) => model.node));
  for (const model of models.values()) draw(model);
  place();
}

/** Load what was used last, or what there is. */
export async function useAny() {
  const complete = [...models.values()].filter((model) => model.complete);
  const model = complete.find(({ name }) => name === recall(CHOSEN)) ?? complete[0];
  if (model) await use(model);
}

async function use(model) {
  for (const other of models.values()) if (["loading", "ready"].includes(other.doing)) change(other, { doing: "" });
  loaded = null;
  const onProgress = (have, total) => model.doing === "loading" && change(model, { part: total ? have / total : 0 });
  const mine = (loading = pocket.load(model.name, { onProgress }));
  change(model, { doing: "loading", part: 0, error: null });
  hooks.changed();
  try {
    const found = await mine;
    if (loading !== mine) return;
    loaded = found;
    remember(CHOSEN, model.name);
    change(model, { doing: "ready" });
    announce(`${model.title} is ready`);
  } catch (error) {
    if (loading !== mine) return; // another was chosen meanwhile
    change(model, { doing: "", error });
  }
  loading = null;
  engine();
  hooks.changed();
}

async function bring(model) {
  if (model.doing || !model.entry) return;
  const abort = new AbortController();
  change(model, { doing: "coming", abort, error: null, speed: "", part: model.stale ? 0 : model.have / model.bytes });
  const began = performance.now();
  let first = null;
  const onProgress = (have, total) => {
    first ??= have;
    const seconds = (performance.now() - began) / 1000;
    const speed = seconds > 1 && have > first ? `, ${inWords((have - first) / seconds)} a second` : "";
    change(model, { part: have / total, have: model.stale ? model.have : have, speed });
  };
  try {
    await pocket.download(model.entry, { onProgress, signal: abort.signal });
    change(model, { doing: "", complete: true, stale: false, have: model.bytes });
    announce(`${model.title} is here`);
  } catch (error) {
    change(model, { doing: "", error: error.name === "AbortError" ? null : error });
    return;
  }
  place();
  usage();
  hooks.changed();
  if (!loaded && !loading) await use(model);
}

async function remove(model) {
  const words = model.complete ? `${inWords(model.have)} are given back. To use it again it must be downloaded.` : "What is here of it is given back.";
  if (!(await confirmed(`Remove ${model.title}?`, words, "Remove"))) return;
  try {
    if (["loading", "ready"].includes(model.doing)) {
      loaded = loading = null;
      pocket.unload();
    }
    await pocket.remove(model.name);
    change(model, { doing: "", have: 0, complete: false, stale: false, error: null });
    if (!model.entry) await refresh();
  } catch (error) {
    change(model, { error });
  }
  place();
  usage();
  hooks.changed();
}

// What is stored does not load, or is not what it should be: from the beginning.
async function bringAnew(model) {
  try {
    await pocket.remove(model.name);
    change(model, { have: 0, complete: false });
    await bring(model);
  } catch (error) {
    change(model, { error });
  }
}

// The list

function change(model, to) {
  Object.assign(model, to);
  draw(model);
}

// The parts of a model's place that change while one looks at it are kept, so that no button is lost under a finger.
function draw(model) {
  const state = [model.doing, model.complete, model.stale, !model.doing && model.have > 0, Boolean(model.entry), model.error?.message].join();
  if (model.node.dataset.state !== state) {
    model.node.dataset.state = state;
    model.node.className = model.doing === "ready" ? "model ready" : "model";
    const busy = model.doing === "coming" || model.doing === "loading";
    const partly = model.have > 0 && !model.complete;
    model.node.replaceChildren(
      h("div", {}, h("b", {}, model.title), h("span", { className: "hint" })),
      ...(busy || partly ? [h("progress", { max: 1, "aria-label": `${model.title}: how much is here` })] : []),
      ...(model.error ? [h("p", { className: "wrong", role: "alert" }, model.error.message)] : []),
      h("div", { className: "row" }, ...buttons(model)),
    );
  }
  model.node.querySelector(".hint").textContent = wordsOf(model);
  const bar = model.node.querySelector("progress");
  if (bar) bar.value = model.doing ? model.part : model.have / model.bytes;
}

function wordsOf(model) {
  const size = inWords(model.bytes);
  if (model.doing === "coming") return `${inWords(model.part * model.bytes)} of ${size}${model.speed}`;
  if (model.doing === "loading") return "Loading …";
  if (model.doing === "ready") return `${size}, in use`;
  if (model.stale) return `${size}, on this device; there is a newer one`;
  if (model.complete) return `${size}, on this device`;
  return model.have ? `${inWords(model.have)} of ${size} are here` : `${size} to download`;
}

function buttons(model) {
  const made = [];
  const add = (label, act, className = "") => made.push(textButton(label, act, className));
  if (model.doing === "coming") add("Pause", () => model.abort.abort());
  else if (model.complete) {
    if (!model.doing) add("Use", () => use(model), "primary");
    if (model.entry && model.error?.code === "damaged") add("Download again", () => bringAnew(model));
    else if (model.stale) add("Update", () => bring(model));
  } else if (model.entry) {
    add(model.have ? "Go on" : "Download", () => bring(model), "primary");
  }
  if (!model.doing.endsWith("ing") && model.have) add("Remove", () => remove(model));
  return made;
}

function place() {
  const there = some() ? $("models-place") : $("empty");
  if ($("models").parentElement === there) return;
  if (there === $("empty")) $("empty-words").after($("models"));
  else there.append($("models"));
}

async function usage() {
  const { usage, quota } = await pocket.usage();
  const kept = await navigator.storage?.persisted?.();
  const may = kept ? "" : " It may clear them when its disk is nearly full.";
  $("usage").textContent = usage ? `Models and chats take ${inWords(usage)} of the ${inWords(quota)} that this browser allows.${may}` : "";
}

function engine() {
  const words = loaded ? [`${loaded.threads === 1 ? "One thread" : `${loaded.threads} threads`}, ${inWords(loaded.memory_bytes)} of memory.`, loaded.single, loaded.note] : [];
  $("engine").textContent = words.filter(Boolean).join(" ");
}
