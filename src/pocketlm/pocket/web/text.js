// Text of an answer as far as it may be shown: strings that end it are never half shown. The same rules as
// engine/text.py: the stop string that is complete first ends the text, and what may be the beginning of one is
// held back until that is decided.

export class TextStream {
  #stop;
  #held = "";

  /** @param {string[]} stop */
  constructor(stop) {
    this.#stop = stop;
    this.stopped = false; // whether a stop string has ended the text
  }

  /** What may be shown now that `text` has come. */
  push(text) {
    return this.#show(text, false);
  }

  /** The rest, of which `text` is the last. */
  finish(text) {
    return this.#show(text, true);
  }

  #show(text, final) {
    if (this.stopped) return "";
    this.#held += text;
    let shown = final ? this.#held.length : this.#held.length - this.#undecided();
    let firstEnd = Infinity;
    for (const stop of this.#stop) {
      const start = this.#held.indexOf(stop);
      const end = start + stop.length;
      if (start < 0 || end > firstEnd || (end === firstEnd && start > shown)) continue;
      firstEnd = end;
      shown = start;
      this.stopped = true;
    }
    text = this.#held.slice(0, shown);
    this.#held = this.#held.slice(shown);
    return text;
  }

  // The length of the longest end of the held text that begins a stop string.
  #undecided() {
    let longest = 0;
    for (const stop of this.#stop) {
      for (let length = Math.min(stop.length - 1, this.#held.length); length > longest; --length) {
        if (this.#held.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
