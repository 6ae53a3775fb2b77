"""The engine in a browser beside wllama (llama.cpp in WebAssembly): same file, texts and threads.

Each measurement has a Chromium of its own. A page brings the model into the browser's storage,
loads it from there (timed), and lets it answer; the engines take turns. Printed are medians over
rounds: prompt and answer in tokens a second as each engine counts them, the time to load a stored
model, and the resident memory of the page's process at the end. wllama is kept off the graphics
processor. Without --wllama this engine is measured alone.

    npm install @wllama/wllama@3.13.0
    make web
    python benchmarks/browser.py MODEL.gguf --wllama node_modules/@wllama/wllama --threads 2
"""

import argparse
import json
import shutil
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
from playwright.sync_api import sync_playwright

from comparison.machine import processor
from pocketlm.store.pieces import pieces_of

ROOT = Path(__file__).parents[1]
BUILT = ROOT / "src/pocketlm/web"
SOURCES = ROOT / "src/pocketlm/pocket/web"
CLIENT = ("client.js", "calls.js", "errors.js")
WORDS = (
    *("river", "stone", "morning", "letter", "garden", "winter"),
    *("market", "paper", "engine", "island", "music", "window"),
)

POCKETLM = """async ({ threads, vectors, texts, tokens }) => {
  const { Pocket } = await import("/web/client.js");
  const first = new Pocket();
  await first.download((await first.catalogue())[0]);
  const pocket = new Pocket();
  const facts = await pocket.load("model", { threads, ...(vectors ? { vectors } : {}) });
  const rows = [];
  for (const content of texts) {
    const answer = pocket.chat([{ role: "user", content }], { max_tokens: tokens });
    for (;;) {
      const { done, value } = await answer.next();
      if (!done) continue;
      const read = value.prompt_tokens - value.cached_tokens;
      rows.push({
        prompt: read / value.prompt_seconds,
        answer: value.answer_tokens / value.seconds,
        tokens: value.answer_tokens,
      });
      break;
    }
  }
  return { load: facts.seconds, what: facts.variant, threads: facts.threads, rows };
}"""

WLLAMA = """async ({ threads, texts, tokens }) => {
  const { Wllama } = await import("/wllama/index.js");
  const options = { n_threads: threads, n_gpu_layers: 0, n_ctx: 4096, warmup: false };
  const start = async () => {
    const wllama = new Wllama({ default: "/wllama/wasm/wllama.wasm" }, { suppressNativeLog: true });
    const began = performance.now();
    await wllama.loadModelFromUrl(new URL("/model.gguf", location.href).href, options);
    return [wllama, (performance.now() - began) / 1000];
  };
  const [first] = await start(); // fetches and keeps the file
  await first.exit();
  const [wllama, load] = await start();
  const rows = [];
  for (const content of texts) {
    const { timings } = await wllama.createChatCompletion({
      messages: [{ role: "user", content }], max_tokens: tokens, temperature: 0 });
    rows.push({
      prompt: timings.prompt_per_second,
      answer: timings.predicted_per_second,
      tokens: timings.predicted_n,
    });
  }
  return { load, what: "wllama", threads, rows };
}"""


@contextmanager
def serving(model: Path, wllama: Path | None, home: Path) -> Iterator[str]:
    """Both engines' scripts and the model, for pages that may share memory."""
    found = pieces_of(model, home)
    entry = {"name": "model", "title": "Model", "file": "../model.gguf", **vars(found)}

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            path = path.partition("?")[0]
            if path == "/model.gguf":
                return str(model)
            if wllama and path.startswith("/wllama/"):
                return str(wllama / "esm" / path.removeprefix("/wllama/"))
            name = path.removeprefix("/web/")
            return str((SOURCES if name in CLIENT else BUILT) / name)

        def do_GET(self) -> None:
            texts = {"/": b"<!doctype html>", "/web/models.json": json.dumps([entry]).encode()}
            content = texts.get(self.path.partition("?")[0])
            if content is None:
                super().do_GET()
                return
            self.send_response(200)
            kind = "text/html" if self.path == "/" else "application/json"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def end_headers(self) -> None:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            super().end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def measure(url: str, script: str, options: dict[str, object]) -> dict[str, object]:
    """What a page of a new browser says of an engine, and its process's memory in MiB.

    The browser has a profile on the disk: without one, storage is in memory and small.
    """
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        flags = ["--no-sandbox", "--disable-gpu"]
        path = shutil.which("chromium")
        browser = playwright.chromium.launch_persistent_context(
            profile, executable_path=path, args=flags
        )
        page = browser.pages[0]
        page.set_default_timeout(600_000)
        page.goto(url)
        found = page.evaluate(script, options)
        renderers = [
            process.memory_info().rss
            for process in psutil.Process().children(recursive=True)
            if "--type=renderer" in process.cmdline()
        ]
        browser.close()
    return {**found, "memory": max(renderers) / 2**20}


def texts_of(round_number: int, words: int) -> list[str]:
    """Texts that begin differently, so that no engine has read them before."""
    texts = []
    for index in range(2):
        places = (place * (index + 3) + round_number for place in range(words))
        text = " ".join(WORDS[place % len(WORDS)] for place in places)
        texts.append(f"{round_number}.{index}: Continue this story in full sentences. {text}")
    return texts


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--wllama", type=Path, help="the npm package's folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--words", type=int, default=300, help="of a prompt")
    parser.add_argument("--tokens", type=int, default=64, help="of an answer")
    parser.add_argument("--vectors", nargs="*", default=["relaxed", "simd"])
    given = parser.parse_args()
    engines = {f"pocketlm {kind}": (POCKETLM, kind) for kind in given.vectors}
    wllama = given.wllama and given.wllama.resolve()
    if wllama:
        engines["wllama"] = (WLLAMA, "")
    measured: dict[str, list[dict[str, object]]] = {name: [] for name in engines}
    with (
        tempfile.TemporaryDirectory() as home,
        serving(given.model.resolve(), wllama, Path(home)) as url,
    ):
        for number in range(given.rounds):
            for name, (script, vectors) in engines.items():
                options = {
                    "threads": given.threads,
                    "vectors": vectors,
                    "texts": texts_of(number, given.words),
                    "tokens": given.tokens,
                }
                found = measure(url, script, options)
                measured[name].append(found)
                print(f"round {number + 1}, {name}: {json.dumps(found)}", flush=True)
    print(f"\n{processor()}, {given.threads} threads, {given.model.name}, medians:")
    print(f"{'':20} {'prompt/s':>9} {'answer/s':>9} {'load s':>7} {'MiB':>7}")
    for name, founds in measured.items():
        rows = [row for found in founds for row in found["rows"]]
        figures = [statistics.median(row[key] for row in rows) for key in ("prompt", "answer")]
        figures += [statistics.median(found[key] for found in founds) for key in ("load", "memory")]
        print("{:20} {:9.1f} {:9.1f} {:7.2f} {:7.0f}".format(name, *figures))


if __name__ == "__main__":
    main()
