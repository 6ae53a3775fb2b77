// Models in the browser's own storage (OPFS): each a file of the model, and beside it a small one that says what
// is there. Used by workers. Knows files and who may write them; not where they come from.
//
// A file is named by the model and the SHA-256 of the whole, so that a newer one can arrive beside the old one.
// The small file is written after the pieces that it speaks of: whatever breaks off in between costs pieces that
// are fetched, or hashed, again.

import { PocketError, inWords } from "./errors.js";

const FOLDER = "pocketlm";
const MODEL = ".gguf";
const STATE = ".json";
const NO_ROOM =
  "The browser has no more room for this page. What has arrived is kept. Make room (remove another model, or files on the disk), and go on.";
const WAIT_MS = 10_000; // for another tab that is loading the same model

/**
 * What is stored of a model: its entry in the catalogue, and how many of its pieces are here and checked.
 * @typedef {import("./client.js").Entry & { have: number }} State
 */

/** How many bytes of a model's file are here and checked. */
export const bytesHeld = ({ have, bytes, piece_bytes }) => Math.min(have * piece_bytes, bytes);

export const isComplete = (state) => state.have === state.pieces.length;

/** All that is stored, by name; a file whose state cannot be read counts as nothing. @returns {Promise<State[]>} */
export async function states() {
  const folder = await open();
  const names = [];
  for await (const name of folder.keys()) if (name.endsWith(MODEL)) names.push(name.slice(0, -MODEL.length));
  const found = await Promise.all(names.map(async (stem) => (await readState(folder, stem)) ?? unknown(stem)));
  return found.sort((one, other) => (one.name < other.name ? -1 : 1));
}

function unknown(stem) {
  const name = nameOf(stem);
  return { name, title: name, sha256: "", bytes: 0, piece_bytes: 0, pieces: [""], have: 0 };
}

/**
 * A stored model's file, to be read by `read(offset, bytes)`; close it afterwards.
 * @returns {Promise<{ state: State, read: (offset: number, to: Uint8Array) => boolean, close: () => void }>}
 */
export async function openModel(name) {
  const folder = await open();
  const own = (await states()).filter((state) => state.name === name);
  const state = own.find(isComplete);
  if (!state) {
    const begun = own.length ? "is not stored whole: its download was not finished" : "is not stored in this browser";
    throw new PocketError("missing", `The model ${name} ${begun}. Download it first.`);
  }
  const file = await folder.getFileHandle(stemOf(state) + MODEL);
  const handle = await whenFree(() => file.createSyncAccessHandle({ mode: "read-only" }), name);
  const size = handle.getSize();
  if (size !== state.bytes) {
    handle.close();
    throw new PocketError("damaged", `The stored file of ${name} is damaged: it has ${size} bytes, not ${state.bytes}. Remove the model and download it again.`);
  }
  return {
    state,
    read: (offset, to) => offset + to.length <= state.bytes && handle.read(to, { at: offset }) === to.length,
    close: () => handle.close(),
  };
}

/**
 * Take the model of this entry for writing, alone among all tabs, while `use` runs.
 * @template T
 * @param {(file: ModelFile) => Promise<T>} use
 * @returns {Promise<T>}
 */
export function writing(entry, use) {
  return alone(entry.name, async () => {
    const folder = await open();
    const file = await ModelFile.open(folder, entry);
    try {
      return await use(file);
    } finally {
      file.close();
    }
  });
}

/** Remove all that is stored of a model; of other versions alone, where one is to be kept. */
export function remove(name) {
  return alone(name, () => removeVersions(name));
}

async function removeVersions(name, kept = null) {
  const folder = await open();
  const files = [];
  for await (const file of folder.keys()) files.push(file);
  const own = files.filter((file) => nameOf(file) === name && !(kept !== null && file.startsWith(kept)));
  for (const file of own) {
    await whenFree(() => folder.removeEntry(file), name).catch((error) => {
      if (error.name !== "NotFoundError") throw error;
    });
  }
}

/** A model's file that grows piece by piece. */
class ModelFile {
  #folder;
  #handle;

  constructor(folder, handle, state) {
    this.#folder = folder;
    this.#handle = handle;
    /** @type {State} */
    this.state = state;
  }

  static async open(folder, entry) {
    const stem = stemOf(entry);
    const file = await folder.getFileHandle(stem + MODEL, { create: true });
    const handle = await whenFree(() => file.createSyncAccessHandle(), entry.name);
    const before = await readState(folder, stem);
    const { name, title, bytes, sha256, piece_bytes, pieces } = entry;
    const made = new ModelFile(folder, handle, { name, title, bytes, sha256, piece_bytes, pieces, have: 0 });
    const same = before !== null && before.piece_bytes === piece_bytes && before.pieces.join() === pieces.join();
    if (same && handle.getSize() >= bytesHeld({ ...entry, have: before.have })) made.state.have = before.have;
    else if (handle.getSize() > 0) await made.#recount();
    return made;
  }

  /** Have room for the whole file, before anything arrives. Throws a PocketError "storage" where there is none. */
  reserve() {
    const { title, bytes } = this.state;
    if (this.#handle.getSize() >= bytes) return;
    try {
      put(this.#handle, new Uint8Array(1), bytes - 1);
    } catch (error) {
      const missing = inWords(bytes - this.#handle.getSize());
      throw full(error, `${title} needs ${missing} more, and the browser has no room for that. Make room (remove another model, or files on the disk), and try again.`);
    }
  }

  /** Write the next piece, which was checked. Throws a PocketError "storage" where there is no room. */
  async append(piece) {
    const { have, piece_bytes } = this.state;
    try {
      put(this.#handle, piece, have * piece_bytes);
      this.#handle.flush();
    } catch (error) {
      throw full(error);
    }
    this.state.have = have + 1;
    await this.#save();
  }

  /** The file is whole: what it may have behind its end goes, and so do other versions. */
  async finish() {
    this.#handle.truncate(this.state.bytes);
    this.#handle.flush();
    await this.#save();
    await removeVersions(this.state.name, stemOf(this.state));
  }

  close() {
    this.#handle.close();
  }

  // Nothing says how much of the file is sound: see.
  async #recount() {
    const { pieces, piece_bytes, bytes } = this.state;
    for (let i = 0; i < pieces.length; ++i) {
      const piece = new Uint8Array(Math.min(piece_bytes, bytes - i * piece_bytes));
      if (this.#handle.read(piece, { at: i * piece_bytes }) !== piece.length) break;
      if ((await sha256(piece)) !== pieces[i]) break;
      this.state.have = i + 1;
    }
    await this.#save();
  }

  async #save() {
    const file = await this.#folder.getFileHandle(stemOf(this.state) + STATE, { create: true });
    const handle = await whenFree(() => file.createSyncAccessHandle(), this.state.name);
    try {
      const text = new TextEncoder().encode(JSON.stringify(this.state));
      put(handle, text, 0);
      handle.truncate(text.length);
      handle.flush();
    } catch (error) {
      throw full(error);
    } finally {
      handle.close();
    }
  }
}

/** The SHA-256 of bytes, in hexadecimal digits. */
export async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function checkSupport() {
  if (!navigator.storage?.getDirectory || !self.FileSystemSyncAccessHandle || !navigator.locks || !crypto.subtle) {
    const why = self.isSecureContext
      ? "This browser cannot keep files for a page (OPFS). Please update it."
      : "Browsers keep files only for pages of https addresses and of localhost. Open the page by such an address.";
    throw new PocketError("unsupported", why);
  }
}

async function open() {
  checkSupport();
  try {
    return await (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
  } catch (error) {
    const words = "The browser keeps no files for this page; private windows often do not. Open the page in a usual window";
    throw error.name === "QuotaExceededError" ? full(error) : new PocketError("storage", `${words} (${error.message}).`);
  }
}

// Where there is no room Chromium throws nothing: it says that it wrote another number of bytes.
function put(handle, bytes, at) {
  if (handle.write(bytes, { at }) !== bytes.length) throw new DOMException("a short write", "QuotaExceededError");
}

const nameOf = (file) => decodeURIComponent(file.slice(0, file.lastIndexOf("-")));
const stemOf = ({ name, sha256 }) => `${encodeURIComponent(name)}-${sha256.slice(0, 16)}`;

async function readState(folder, stem) {
  try {
    const file = await (await folder.getFileHandle(stem + STATE)).getFile();
    const state = JSON.parse(await file.text());
    const sound = Number.isInteger(state.have) && Array.isArray(state.pieces) && state.have <= state.pieces.length && stemOf(state) === stem;
    return sound ? state : null;
  } catch {
    return null; // there is none, or it was cut off while it was written
  }
}

async function alone(name, use) {
  checkSupport();
  return navigator.locks.request(`pocketlm:${name}`, { ifAvailable: true }, (lock) => {
    if (lock === null) throw new PocketError("busy", `Another tab is at the files of ${name}. Wait until it is done, or close it.`);
    return use();
  });
}

// A file has one user at a time, be it another tab: those who load it are soon done.
async function whenFree(act, name) {
  const end = performance.now() + WAIT_MS;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (error.name !== "NoModificationAllowedError") throw full(error);
      if (performance.now() > end) throw new PocketError("busy", `Another tab uses the files of ${name}. Wait until it is done, or close it.`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

function full(error, words = NO_ROOM) {
  return error.name === "QuotaExceededError" ? new PocketError("storage", words) : error;
}
