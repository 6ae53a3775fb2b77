// Chats, kept in this browser and nowhere else: an IndexedDB database with one object a chat.
//
// Knows how they are stored, and no more of them than their `id` and `updated`. What cannot be kept is an error in words.

const NAME = "pocketlm";
const STORE = "chats";
let opened = null;

/**
 * A chat. An answer that was cut off has `pending` still: its page was closed, or its tab killed.
 * @typedef {{ id: string, title: string, model: string, updated: number, messages: Message[] }} Chat
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

/** @param {Chat} chat */
export const put = (chat) => request("readwrite", (store) => store.put(chat));

/** @param {string} id */
export const remove = (id) => request("readwrite", (store) => store.delete(id));

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
