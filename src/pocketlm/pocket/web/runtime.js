// The WebAssembly module, running: its memory, texts and lists in it, its threads, and its errors as ours.
// Knows how such a module is started and called; not what its functions mean.

import { PocketError } from "./errors.js";
import { wasi } from "./wasi.js";

const PAGE = 65536;
const STACK_BYTES = 1 << 20; // of each thread
// A shared memory is of a size that is said beforehand, most of which is only an intention. Some phones give
// no whole 4 GiB even of that.
const SHARED_PAGES = [65535, 49152, 32768, 16384, 8192];
const INITIAL_PAGES = (32 << 20) / PAGE; // at least what the module begins with; it grows
// pocketlm_status, by number.
const CODES = ["", "argument", "model", "model", "context", "memory", "internal", "internal"];

export class Runtime {
  #exports;
  #module;
  #threads = [];
  #broken = null;

  /** A module that runs. `start` makes it. */
  constructor(module, instance, memory) {
    this.#module = module;
    this.#exports = instance.exports;
    this.memory = memory;
    this.#exports._initialize();
  }

  /**
   * Fetch, compile and start a module.
   * @param {URL} address
   * @param {{ shared: boolean, read: (offset: number, to: Uint8Array) => boolean }} options  `shared`: the module
   *   takes its memory from outside, for threads. `read` fills bytes from an offset of the model's file.
   */
  static async start(address, { shared, read }) {
    const module = await compiled(address);
    let memory = shared ? sharedMemory() : null;
    const instance = await WebAssembly.instantiate(module, {
      env: { memory },
      pocketlm: { read: (offset, to, length) => (read(offset, new Uint8Array(memory.buffer, to >>> 0, length)) ? 0 : 1) },
      wasi_snapshot_preview1: wasi(module, () => memory),
    });
    memory ??= instance.exports.memory;
    return new Runtime(module, instance, memory);
  }

  /** Start `count` workers that compute with this one. They take part as soon as they run. */
  startThreads(count) {
    for (let thread = 1; thread <= count; ++thread) {
      const variables = this.#exports.__tls_size.value;
      const alignment = this.#exports.__tls_align.value;
      const stack = this.allocate(STACK_BYTES);
      const place = this.allocate(variables + alignment);
      const worker = new Worker(new URL("./thread.js", import.meta.url), { type: "module" });
      worker.onerror = (event) => console.error(`thread ${thread} does not run: ${event.message ?? "its script is missing"}`);
      worker.postMessage({
        module: this.#module,
        memory: this.memory,
        thread,
        stack: Math.floor((stack + STACK_BYTES) / 16) * 16, // it grows downwards
        variables: Math.ceil(place / alignment) * alignment,
      });
      this.#threads.push(worker);
    }
  }

  /** Call a function that returns a number. */
  call(name, ...given) {
    if (this.#broken) throw this.#broken;
    try {
      return this.#exports[name](...given);
    } catch (error) {
      // The module stopped in the middle of something: what is in its memory is not to be trusted.
      console.error(error);
      this.#broken = new PocketError("internal", `The engine broke off (${error.message}). Load the model again.`);
      throw this.#broken;
    }
  }

  /** Call a function that returns a pocketlm_status. Throws what went wrong. */
  check(name, ...given) {
    const status = this.call(name, ...given);
    if (status !== 0) throw this.failure(CODES[status] ?? "internal");
  }

  /** Call a function that returns a pointer, NULL where it fails. */
  make(name, ...given) {
    const address = this.call(name, ...given) >>> 0;
    if (address === 0) throw this.failure("argument");
    return address;
  }

  /** The library's last error. */
  failure(code) {
    const text = this.text(this.call("pocketlm_last_error"));
    if (code === "memory" || text === "no memory left") {
      return new PocketError("memory", "The browser gives this page no more memory. Close other tabs, or begin a new conversation.");
    }
    return new PocketError(code, sentence(text));
  }

  allocate(bytes) {
    const address = this.call("malloc", Math.max(bytes, 1)) >>> 0;
    if (address === 0) throw this.failure("memory");
    return address;
  }

  free(address) {
    this.call("free", address);
  }

  /** What `use` returns of so many bytes, which are its own until then. */
  withBytes(bytes, use) {
    const address = this.allocate(bytes);
    try {
      return use(address);
    } finally {
      if (!this.#broken) this.free(address);
    }
  }

  /** The same of a text as UTF-8, with a zero byte behind it: `use` gets its address and its length in bytes. */
  withText(text, use) {
    const data = new TextEncoder().encode(text); // half of a surrogate pair becomes U+FFFD, as on the desktop
    return this.withBytes(data.length + 1, (address) => {
      this.bytes(address, data.length).set(data);
      this.bytes(address + data.length, 1)[0] = 0;
      return use(address, data.length);
    });
  }

  /** The same of 32-bit numbers: `use` gets their address and how many there are. */
  withNumbers(numbers, use) {
    return this.withBytes(4 * numbers.length, (address) => {
      new Int32Array(this.memory.buffer, address, numbers.length).set(numbers);
      return use(address, numbers.length);
    });
  }

  // Views are made anew for each use: the buffer is another once the memory has grown.
  get view() {
    return new DataView(this.memory.buffer);
  }

  bytes(address, length) {
    return new Uint8Array(this.memory.buffer, address, length);
  }

  numbers(address, count) {
    return Array.from(new Int32Array(this.memory.buffer, address, count));
  }

  /** A text of UTF-8; without a length up to its zero byte. */
  text(address, length) {
    address >>>= 0;
    length ??= new Uint8Array(this.memory.buffer).indexOf(0, address) - address;
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.bytes(address, length).slice());
  }
}

async function compiled(address) {
  let response;
  try {
    response = await fetch(address);
  } catch {
    throw new PocketError("network", "The engine's program cannot be fetched: the server does not answer.");
  }
  if (!response.ok) {
    throw new PocketError("network", `The engine's program cannot be fetched: the server has no ${address.pathname} (status ${response.status}).`);
  }
  try {
    // Compiling while it arrives wants the right type of content, which not every server sends.
    const typed = response.headers.get("Content-Type")?.startsWith("application/wasm");
    return await (typed ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer()));
  } catch (error) {
    throw new PocketError("unsupported", `The engine's program does not run in this browser (${error.message}). Please update the browser.`);
  }
}

function sharedMemory() {
  for (const maximum of SHARED_PAGES) {
    try {
      return new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum, shared: true });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
  throw new PocketError("memory", "The browser gives this page no memory to share between threads. Close other tabs, and load the page again.");
}

/** A line of the library's as a sentence. */
export function sentence(text) {
  const begin = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begin) ? begin : `${begin}.`;
}
