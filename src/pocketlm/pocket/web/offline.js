// The page without a network, and alone in its process: the part of the service worker that a page sees.
//
// Threads need memory that is shared, and browsers share it in pages alone that are isolated from all others. Servers
// ask for that by headers. For those that cannot, the service worker adds the headers: from the second time on that
// the page is opened, so the first time it is opened twice.

const TRIED = "pocketlm-isolating";
const PATIENCE = 8000; // milliseconds until the page goes on without threads

// The one kind of script that may be started by name: the page's own.
globalThis.trustedTypes?.createPolicy("default", {
  createScriptURL(address) {
    const url = new URL(address, document.baseURI);
    if (url.origin !== location.origin) throw new TypeError(`a script of ${url.origin}`);
    return url.href;
  },
});

/**
 * Keep the page for when there is no network, and isolate it if that can be: then it is opened again, and this does
 * not return. `onNew` is told when another version of the page is here, with a function that changes to it.
 * @param {(change: () => void) => void} onNew
 */
export async function settle(onNew) {
  const workers = navigator.serviceWorker;
  if (!workers) return;
  try {
    const registration = await workers.register("sw.js", { updateViaCache: "none" });
    watch(registration, onNew);
    if (crossOriginIsolated || sessionStorage.getItem(TRIED)) return;
    await controlled(workers);
    if (!workers.controller) return;
    sessionStorage.setItem(TRIED, "1");
  } catch {
    return; // it may be forbidden: then the page works as long as its server does
  }
  location.reload();
  await new Promise(() => {});
}

function controlled(workers) {
  if (workers.controller) return null;
  return Promise.race([
    new Promise((resolve) => workers.addEventListener("controllerchange", resolve, { once: true })),
    new Promise((resolve) => setTimeout(resolve, PATIENCE)),
  ]);
}

function watch(registration, onNew) {
  const offer = (worker) => {
    // The first worker replaces none.
    if (!navigator.serviceWorker.controller || worker.state !== "installed") return;
    onNew(() => {
      navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
      worker.postMessage("change");
    });
  };
  if (registration.waiting) offer(registration.waiting);
  registration.addEventListener("updatefound", () => {
    const worker = registration.installing;
    worker.addEventListener("statechange", () => offer(worker));
  });
}
