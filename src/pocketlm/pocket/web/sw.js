// The service worker: keeps the page for when there is no network, and isolates it for threads.
//
// The build puts in which version this is (BUILD) and of which files (FILES). Each version has a cache of its own, that is
// whole before it is used; WebAssembly modules join it when they are first asked for, as a browser needs one of
// several. Models are none of its affairs: they are in the page's storage.

/* global BUILD, FILES */

const SCOPE = registration.scope;
const OURS = `pocketlm ${SCOPE} `;
const CACHE = OURS + BUILD;
const CATALOGUE = `pocketlm-models ${SCOPE}`;
const ISOLATED = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};
const isModule = (name) => name.endsWith(".wasm");

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(activate()));
addEventListener("message", (event) => event.data === "change" && skipWaiting());
addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || !url.href.startsWith(SCOPE)) return;
  const name = url.href.slice(SCOPE.length).replace(/[?#].*$/s, "") || "index.html";
  if (name === "models.json") event.respondWith(newest(event.request));
  else if (FILES.includes(name)) event.respondWith(kept(name));
});

async function install() {
  const cache = await caches.open(CACHE);
  // What worked without a network goes on working: modules that were in use come along.
  const used = new Set();
  for (const other of await earlier()) {
    for (const { url } of await (await caches.open(other)).keys()) used.add(url.slice(SCOPE.length));
  }
  const names = FILES.filter((name) => !isModule(name) || used.has(name));
  await cache.addAll(names.map((name) => new Request(addressOf(name), { cache: "no-cache" })));
}

async function activate() {
  for (const other of await earlier()) await caches.delete(other);
  await clients.claim();
}

async function earlier() {
  return (await caches.keys()).filter((name) => name.startsWith(OURS) && name !== CACHE);
}

const addressOf = (name) => (name === "index.html" ? SCOPE : SCOPE + name);

async function kept(name) {
  const cache = await caches.open(CACHE);
  const address = addressOf(name);
  let response = await cache.match(address);
  if (!response) {
    response = await fetch(address, { cache: "no-cache" });
    if (response.ok) await cache.put(address, response.clone());
  }
  return isolated(response, name);
}

// The list of models as it is now, or as it was when it was last had.
async function newest(request) {
  const cache = await caches.open(CATALOGUE);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(SCOPE + "models.json", response.clone());
    if (response.status < 500) return isolated(response, "models.json");
  } catch {
    // There is no network.
  }
  const response = await cache.match(SCOPE + "models.json");
  return response ? isolated(response, "models.json") : Response.error();
}

function isolated(response, name) {
  const headers = new Headers(response.headers);
  for (const [header, value] of Object.entries(ISOLATED)) headers.set(header, value);
  for (const header of ["Content-Encoding", "Content-Length"]) headers.delete(header); // of the body as it travelled
  // Modules compile while they arrive, if they are called what they are; not every server knows to.
  if (isModule(name)) headers.set("Content-Type", "application/wasm");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
