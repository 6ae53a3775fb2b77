// Calls to a worker and their answers, for both ends. Knows messages alone, not what the calls do.
//
// To the worker: { id, name, given } calls, { id, cancel: true } asks that a call end soon. From it: { id, event }
// any number of times, then { id, value } or { id, error: { code, message } }.

import { PocketError, known } from "./errors.js";

/** A worker, from outside. Its script answers by `serve`. */
export class Remote {
  #worker;
  #waiting = new Map();
  #last = 0;
  #gone = null; // why no more calls are answered

  /** @param {URL} script  a module. */
  constructor(script) {
    this.#worker = new Worker(script, { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#take(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      const why = event.message ? `: ${event.message}` : "; was the page's server there?";
      this.#end(new PocketError("internal", `A part of the engine does not run${why}.`));
    };
  }

  /** Whether it still answers. */
  get alive() {
    return this.#gone === null;
  }

  /**
   * Call what the worker has by this name. Rejects with a PocketError.
   *
   * @param {{ onEvent?: (event: any) => void, signal?: AbortSignal, transfer?: Transferable[] }} [options]
   *   `signal` asks the worker to end the call: how it then ends is its own affair.
   */
  call(name, given = [], { onEvent = () => {}, signal, transfer = [] } = {}) {
    if (this.#gone) return Promise.reject(this.#gone);
    const id = ++this.#last;
    const cancel = () => this.#worker.postMessage({ id, cancel: true });
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject, onEvent }));
    this.#worker.postMessage({ id, name, given }, transfer);
    if (signal?.aborted) cancel();
    else signal?.addEventListener("abort", cancel);
    return answer.finally(() => signal?.removeEventListener("abort", cancel));
  }

  /** End the worker, in the middle of whatever it does. Calls that wait are rejected. */
  terminate(why = new PocketError("internal", "The engine was ended.")) {
    this.#end(why);
  }

  #end(why) {
    this.#gone ??= why;
    this.#worker.terminate();
    for (const { reject } of this.#waiting.values()) reject(this.#gone);
    this.#waiting.clear();
  }

  #take({ id, event, value, error }) {
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    if (event !== undefined) return waiting.onEvent(event);
    this.#waiting.delete(id);
    if (error) waiting.reject(new PocketError(error.code, error.message));
    else waiting.resolve(value);
  }
}

/**
 * In a worker: answer calls by the functions of `handlers`. Each gets what the caller gave, and last
 * { signal, tell }: an AbortSignal, and a function that sends an event.
 */
export function serve(handlers) {
  const running = new Map();
  self.onmessage = async ({ data: { id, name, given, cancel } }) => {
    if (cancel) return running.get(id)?.abort();
    const controller = new AbortController();
    running.set(id, controller);
    const tell = (event) => self.postMessage({ id, event });
    try {
      const value = await handlers[name](...given, { signal: controller.signal, tell });
      self.postMessage({ id, value });
    } catch (error) {
      const { code, message } = known(error);
      if (code === "internal") console.error(error);
      self.postMessage({ id, error: { code, message } });
    } finally {
      running.delete(id);
    }
  };
}
