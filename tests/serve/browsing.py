"""The page in a real Chromium, and a server that must never be asked for anything."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page
from servers import Running

from pocketlm.chat.conversation import Conversation
from pocketlm.chat.history import History


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def holds(page: Page, expression: str) -> None:
    """Wait until an expression of JavaScript does. (A script that waits itself would need eval.)"""
    until(lambda: page.evaluate(expression))


@dataclass
class Trap:
    """A server on this machine that notes what it is asked for; `pages` are what it answers."""

    port: int
    asked: list[str] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def trap() -> Iterator[Trap]:
    """Run a trap as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            page = found.pages.get(urlsplit(self.path).path, "<!doctype html><title>a site</title>")
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Trap(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


class Window:
    """A window with the page; whatever it asks for and whatever goes wrong in it is noted."""

    def __init__(self, chromium: Browser, server: Running, **options: object) -> None:
        options.setdefault("viewport", {"width": 1280, "height": 800})
        self.context = chromium.new_context(**options)
        self.context.set_default_timeout(20_000)
        self.server = server
        self.requests: list[str] = []
        self.faults: list[str] = []
        self.page = self.new_page()

    def new_page(self) -> Page:
        page = self.context.new_page()
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._note)
        return page

    def _note(self, message) -> None:
        # A request that is refused, or a server that is gone, is no fault of the page.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    def open(self, path: str = "/") -> Page:
        self.page.goto(self.server.url + path)
        holds(self.page, "document.querySelector('#model').value !== ''")
        return self.page

    def close(self) -> None:
        """Everything came from the one server, and nothing went wrong."""
        self.context.close()
        others = [url for url in self.requests if not url.startswith((self.server.url, "blob:"))]
        assert others == []
        assert self.faults == []

    # What people do

    def say(self, text: str) -> None:
        self.page.get_by_label("Message", exact=True).fill(text)
        self.page.keyboard.press("Enter")

    def answered(self) -> str:
        """The last answer, once it is over."""
        self.page.wait_for_selector(".message:last-child.assistant:not(.writing)")
        return self.page.locator(".assistant .prose").last.inner_text()

    def ask(self, text: str) -> str:
        # Short answers are over before one can look whether they are being written.
        before = self.page.locator(".message").count()
        self.say(text)
        holds(self.page, f"document.querySelectorAll('.message').length > {before}")
        return self.answered()

    def answers_to(self, act: Callable[[], None]) -> str:
        """The answer that an action in the page asks for."""
        with self.page.expect_request(lambda request: request.method == "POST"):
            act()
        return self.answered()

    def longest(self, tokens: int) -> None:
        """Limit answers in the settings."""
        self._set({"Longest answer": tokens, "Temperature": 0})

    def endless(self) -> None:
        """Let answers repeat themselves, as they do, to the end of the context: many seconds."""
        self._set({"Longest answer": 8000, "Temperature": 0, "Frequency": 0})

    def _set(self, fields: dict[str, int]) -> None:
        self.page.get_by_role("button", name="Settings").click()
        for label, value in fields.items():
            self.page.get_by_label(label).fill(str(value))
        self.page.get_by_role("button", name="Done").click()


def keep(server: Running, *turns: str, title: str | None = None) -> int:
    """Put a chat into the history, as the terminal does: what was said in turns. Its number."""
    chat = Conversation()
    chat.title = title
    for index, text in enumerate(turns):
        (chat.add_assistant if index % 2 else chat.add_user)(text)
    with History(server.home / "history.db") as history:
        history.save(chat, model="m", fingerprint="f")
    assert chat.id is not None
    return chat.id
