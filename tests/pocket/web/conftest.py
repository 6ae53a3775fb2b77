"""A real Chromium, and pages in it that use the engine's client."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from pocket.web.site import Site, serving

SCRIPTS = Path(__file__).parents[3] / "src/pocketlm/pocket/web"
BUILT = Path(__file__).parents[3] / "src/pocketlm/web"
CLIENT = ("client.js", "calls.js", "errors.js")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A real browser. Its driver's event loop must be gone before other modules."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium (Debian has it as a package)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        rules = "--host-resolver-rules=MAP plain.example 127.0.0.1"
        browser = playwright.chromium.launch(executable_path=path, args=[rules])
        yield browser
        browser.close()


@pytest.fixture
def site() -> Iterator[Site]:
    """A server with the scripts as they are in the repository."""
    with serving(SCRIPTS) as found:
        yield found


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """Storage of its own."""
    found = chromium.new_context()
    found.set_default_timeout(60_000)
    yield found
    found.close()


@pytest.fixture
def opened(context: BrowserContext, site: Site) -> Callable[[], Page]:
    """Open pages with a client each, `pocket`."""
    return lambda: open_page(context, site)


def open_page(context: BrowserContext, site: Site) -> Page:
    """A page with `pocket`; `caught(act)` is what an act gives, or its error."""
    page = context.new_page()
    page.goto(site.url + "/")
    page.evaluate(
        """async () => {
          const { Pocket, ...others } = await import("/web/client.js");
          globalThis.Pocket = Pocket;
          globalThis.others = others;
          globalThis.pocket = new Pocket();
          globalThis.models = async () => {
            const root = await navigator.storage.getDirectory();
            return root.getDirectoryHandle("pocketlm");
          };
          globalThis.caught = async (act) => {
            try {
              return (await act()) ?? null;
            } catch (error) {
              return { name: error.name, code: error.code, message: error.message };
            }
          };
        }"""
    )
    return page


class Window:
    """A page with the engine as it is shipped, and the models that a site offers."""

    def __init__(self, chromium: Browser, site: Site) -> None:
        self.site = site
        self.context = chromium.new_context()
        self.context.set_default_timeout(120_000)
        self.page = open_page(self.context, site)
        self.page.evaluate(
            """() => {
              // All of an answer: its text, and how it ended.
              globalThis.answered = async (messages, options = {}, signal = undefined) => {
                let text = "";
                const answer = pocket.chat(messages, options, signal);
                for (;;) {
                  const { done, value } = await answer.next();
                  if (done) return { text, ...value };
                  text += value;
                }
              };
              globalThis.fetched = async (name) => {
                const entries = await pocket.catalogue();
                await pocket.download(entries.find((entry) => entry.name === name));
              };
            }"""
        )

    def load(self, name: str, **options: object) -> dict[str, Any]:
        """Fetch and load a model: its facts, or the error."""
        return self.page.evaluate(
            "([name, options]) => caught(async () => {"
            " await fetched(name); return pocket.load(name, options); })",
            [name, options],
        )

    def chat(self, *said: str | Mapping[str, object], **options: object) -> dict[str, Any]:
        """The answer to messages, of which plain texts are the user's and the model's in turn."""
        return self.page.evaluate(
            "([messages, options]) => caught(() => answered(messages, options))",
            [messages(*said), options],
        )

    def prompts(self, conversations: list[list[dict[str, str]]]) -> list[Any]:
        """The token ids of each conversation, or its error."""
        return self.page.evaluate(
            """async (all) => {
              const found = [];
              for (const messages of all) {
                found.push(await caught(() => pocket.promptTokens(messages)));
              }
              return found;
            }""",
            conversations,
        )


def messages(*said: str | Mapping[str, object]) -> list[dict[str, object]]:
    return [
        {"role": "assistant" if index % 2 else "user", "content": each}
        if isinstance(each, str)
        else dict(each)
        for index, each in enumerate(said)
    ]


@pytest.fixture(scope="module")
def shipped() -> Iterator[Site]:
    """A server with the scripts and modules as they are built and shipped."""
    folder = Path(os.environ.get("POCKETLM_TEST_WEB") or BUILT)
    if not (folder / "pocket-simd.wasm").is_file():
        pytest.skip(f"{folder} holds no engine for browsers: make web")
    with tempfile.TemporaryDirectory() as place:
        # The client as a module of its own, beside what is shipped: there it is a part of the page.
        whole = Path(place)
        for file in [*folder.iterdir(), *(SCRIPTS / name for name in CLIENT)]:
            (whole / file.name).symlink_to(file)
        with serving(whole) as found:
            yield found


@pytest.fixture(scope="module")
def window(chromium: Browser, shipped: Site) -> Iterator[Window]:
    found = Window(chromium, shipped)
    yield found
    found.context.close()
