// The server: requests with its key where it has one, failures in words, and streams of events.

const KEY = "pocketlm-key";

export class Failure extends Error {
  constructor(message, { status = 0, code = "", more = {} } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.more = more;
  }
}

let askForKey = async () => null;

// What asks for the key; it is told whether one was wrong.
export function onKeyWanted(ask) {
  askForKey = ask;
}

export async function request(method, path, body, signal) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = {};
    if (key) headers["Authorization"] = `Bearer ${key}`;
    if (method !== "GET") headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(path, {
        method,
        headers,
        signal,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Failure("The server does not answer. Is it still running?", { code: "network" });
    }
    if (response.ok) return response;
    if (response.status === 401) {
      sessionStorage.setItem(KEY, await askForKey(Boolean(key)));
      continue;
    }
    throw failure(await words(response), response.status);
  }
}

export async function get(path) {
  return (await request("GET", path)).json();
}

export async function post(path, body) {
  return (await request("POST", path, body)).json();
}

// Server-sent events as [name, content]. One of the name "error" is thrown.
export async function* events(path, body, signal) {
  const response = await request("POST", path, body, signal);
  let rest = "";
  try {
    for await (const text of parts(response.body.pipeThrough(new TextDecoderStream()))) {
      const whole = (rest + text).split("\n\n");
      rest = whole.pop();
      for (const one of whole) {
        const [name, content] = parsed(one);
        if (name === "error") throw failure(content, 0);
        yield [name, content];
      }
    }
  } catch (error) {
    if (error instanceof Failure || error.name === "AbortError") throw error;
    throw new Failure("The connection to the server broke.", { code: "network" });
  }
}

async function* parts(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parsed(text) {
  let name = "message";
  let data = "";
  for (const line of text.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    if (line.startsWith("data: ")) data += line.slice(6);
  }
  return [name, JSON.parse(data)];
}

async function words(response) {
  try {
    return await response.json();
  } catch {
    return { error: { message: `The server answered with status ${response.status}.` } };
  }
}

function failure(content, status) {
  const { error, ...more } = content;
  const message = sentence(error?.message ?? "Something went wrong.");
  return new Failure(message, { status, code: error?.code ?? "", more });
}

function sentence(text) {
  const begin = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begin) ? begin : `${begin}.`;
}
