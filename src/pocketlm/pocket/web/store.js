// The worker that keeps models: what is stored, downloads, removals. It runs no model.

import { serve } from "./calls.js";
import { fetchPieces } from "./download.js";
import { PocketError } from "./errors.js";
import { bytesHeld, isComplete, remove, sha256, states, writing } from "./files.js";

const TELL_EVERY_MS = 100;

serve({
  // One a model: the version that is whole, if any is.
  async stored() {
    const byName = new Map();
    for (const state of await states()) {
      if (!byName.has(state.name) || isComplete(state)) byName.set(state.name, state);
    }
    return [...byName.values()].map((state) => ({
      name: state.name,
      title: state.title,
      bytes: state.bytes,
      have: bytesHeld(state),
      complete: isComplete(state),
      sha256: state.sha256,
    }));
  },

  remove: (name) => remove(name),

  // An aborted signal ends it after the piece under way; who gave the signal knows.
  async download(entry, address, key, { signal, tell }) {
    checkEntry(entry);
    await writing(entry, async (file) => {
      file.reserve();
      tell([bytesHeld(file.state), entry.bytes]);
      try {
        await fetchPieces(entry, address, {
          from: file.state.have,
          sha256,
          keep: (piece) => file.append(piece),
          arrived: seldom((bytes) => tell([bytes, entry.bytes])),
          key,
          signal,
        });
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
      await file.finish();
      tell([entry.bytes, entry.bytes]);
    });
  },
});

function checkEntry({ name, bytes, sha256, piece_bytes, pieces }) {
  const hash = /^[0-9a-f]{64}$/;
  const sound =
    typeof name === "string" && name !== "" && Number.isSafeInteger(bytes) && bytes > 0 && hash.test(sha256) &&
    Number.isSafeInteger(piece_bytes) && piece_bytes > 0 && Array.isArray(pieces) &&
    pieces.length === Math.ceil(bytes / piece_bytes) && pieces.every((piece) => hash.test(piece));
  if (!sound) throw new PocketError("damaged", "The list of models has an entry that cannot be understood. Load the page again.");
}

function seldom(act) {
  let last = 0;
  return (...given) => {
    const now = performance.now();
    if (now - last < TELL_EVERY_MS) return;
    last = now;
    act(...given);
  };
}
