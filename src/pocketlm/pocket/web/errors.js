// What can go wrong, in words for people, by a code for programs. Knows nothing of where it went wrong.

/**
 * What the engine reports. `message` is whole sentences: what was wrong, and what to do.
 *
 * `code` is one of
 *   unsupported  this browser, or a page that is not served by https or localhost, cannot run the engine
 *   network      a server does not answer, or the connection broke
 *   key          the server wants a key, or another one
 *   damaged      what the server sent, or what is stored, is not what the catalogue says
 *   storage      the browser has no room, or keeps nothing for this page
 *   busy         another tab is at it
 *   missing      no such model, or it is not stored whole
 *   model        the file is no model that can be run
 *   memory       the browser gives the page too little memory
 *   context      the conversation is too long
 *   template     the model's chat template cannot be rendered, or refuses the messages
 *   argument     what the caller gave is wrong
 *   internal     a fault of the engine
 */
export class PocketError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "PocketError";
    this.code = code;
  }
}

/** Any error as one of ours. */
export function known(error) {
  if (error instanceof PocketError) return error;
  return new PocketError("internal", `The engine has a fault: ${error?.message ?? error}.`);
}

/** A number of bytes for people: "98 MB". */
export function inWords(bytes) {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  if (bytes >= 1e6) return `${Math.round(bytes / 1e6)} MB`;
  return `${Math.max(Math.round(bytes / 1e3), bytes > 0 ? 1 : 0)} KB`;
}
