// Chats, kept in this browser and nowhere else: an IndexedDB database with one object a chat. Other tabs see the same.
//
// Knows how they are stored, and no more of them than their `id`, `updated` and `version`. What cannot be kept is an
// error in words.

const NAME = "pocketlm";
const STORE = "chats";
const tabs = new BroadcastChannel("pocketlm-chats");
let opened = null;

/** Another tab has kept a later version of the chat: nothing was kept. */
export class Changed extends Error {}

/**
 * A chat. An answer that was cut off has `pending` still: its page was closed, or its tab killed; or another tab writes
 * it at the moment. `version` is another one each time it is kept.
 * @typedef {{ id: string, title: string, model: string, updated: number, version?: string, messages: Message[] }} Chat
 * @typedef {{ role: "user" | "assistant", content: string, tokens?: number[] | null, model?: string, figures?: string,
 *   note?: string, error?: string, pending?: boolean }} Message
 */

/** All chats, the newest first. @returns {Promise<Chat[]>} */
export async function all() {
  const chats = await request("readonly", (store) => store.getAll());
  return chats.sort((one, other) => other.updated - one.updated);
}

/** @param {string} id @returns {Promise<Chat | undefined>} */
export const get = (id) => request("readonly", (store) => store.get(id));

/**
 * Keep a chat, if what is kept of it is the version that it has.
 * @param {Chat} chat
 * @returns {Promise<string>} its version now; rejects with Changed, or with an Error where it was removed meanwhile
 */
export async function put(chat) {
  const version = crypto.randomUUID();
  const before = await request("readwrite", (store) => {
    const asked = store.get(chat.id);
    asked.onsuccess = () => {
      if (asked.result?.version === chat.version) store.put({ ...chat, version });
    };
    return asked;
  });
  if (before?.version !== chat.version) throw before ? new Changed() : new Error("it was removed");
  tabs.postMessage(chat.id);
  return version;
}

/** @param {string} id */
export async function remove(id) {
  await request("readwrite", (store) => store.delete(id));
  tabs.postMessage(id);
}

/** Be told the id of a chat that another tab kept or removed. @param {(id: string) => void} told */
export function watch(told) {
  tabs.onmessage = ({ data }) => told(data);
}

const lock = (id) => `pocketlm-chat-${id}`;

/** Say to other tabs that an answer is being written here, until the function that this gives is called. */
export function hold(id) {
  return new Promise((held) => {
    // A lock is held until a promise is kept, or its tab ends.
    navigator.locks.request(lock(id), { mode: "shared" }, () => new Promise((release) => held(release)));
  });
}

/** Whether some tab writes an answer. @param {string} id */
export async function isHeld(id) {
  const { held } = await navigator.locks.query();
  return held.some(({ name }) => name === lock(id));
}

async function request(mode, ask) {
  try {
    const database = await (opened ??= open());
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode, { durability: "strict" });
      const asked = ask(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(asked.result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } catch (error) {
    opened = null;
    const full = error?.name === "QuotaExceededError";
    throw new Error(full ? "this browser's storage is full" : `this browser does not keep it (${error?.message ?? error})`);
  }
}

function open() {
  return new Promise((resolve, reject) => {
    const asked = indexedDB.open(NAME, 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore(STORE, { keyPath: "id" });
    asked.onsuccess = () => {
      // A page of a later version may want to change the database, or the browser to clear it.
      asked.result.onversionchange = asked.result.onclose = () => {
        asked.result.close();
        opened = null;
      };
      resolve(asked.result);
    };
    asked.onerror = () => reject(asked.error);
  });
}
