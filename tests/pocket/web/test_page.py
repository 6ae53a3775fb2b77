"""The page in a real Chromium of a phone's width: from the first visit to an answer offline.

It lies on a server that knows nothing: no headers, no ranges, as many hosts of files.
"""

import contextlib
import functools
import http.server
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

import pocketlm
from pocket.web.conftest import BUILT
from pocketlm.engine.sampling import CHAT_SAMPLING
from pocketlm.serve.pocket import built, site

pytestmark = pytest.mark.slow

PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 1,
    "is_mobile": True,
    "has_touch": True,
}
QUESTION = "Tell me of the sea."
#: No other word of its answer is nearly as likely: kernels that round otherwise say the same.
NUMBERS = "Repeat: one two three four five six seven eight nine ten."
LONGEST = 24


@dataclass
class Host:
    """A plain web server, and what it was asked for; from `fast` pieces on each takes a second."""

    url: str
    stop: Callable[[], None]
    asked: list[str] = field(default_factory=list)
    fast: int = 1000

    @property
    def pieces(self) -> list[str]:
        return [path for path in self.asked if ".gguf." in path]


@pytest.fixture(scope="module")
def folder(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pocketlm export smollm2 --format web` writes."""
    where = Path(os.environ.get("POCKETLM_TEST_WEB") or BUILT)
    if not (where / "sw.js").is_file():
        pytest.skip(f"{where} holds no page for browsers: make web")
    target = tmp_path_factory.mktemp("static") / "site"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(built, "FOLDER", where)
        site.write(smollm2, target, "smollm2", tmp_path_factory.mktemp("home"))
    return target


@pytest.fixture
def host(folder: Path) -> Iterator[Host]:
    with hosting(folder) as found:
        yield found


@contextlib.contextmanager
def hosting(folder: Path) -> Iterator[Host]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            if len(found.pieces) > found.fast and ".gguf." in self.path:
                time.sleep(1)
            with contextlib.suppress(OSError):  # the page may go away
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    found = Host(f"http://127.0.0.1:{server.server_port}/", stop)
    yield found
    stop()


@pytest.fixture
def phone(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(**PHONE)
    context.set_default_timeout(120_000)
    faults: list[str] = []
    context.on("weberror", lambda error: faults.append(str(error.error)))
    yield context
    context.close()
    assert faults == []


def until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def with_model(context: BrowserContext, host: Host) -> Page:
    """The page with the model fetched and loaded, and short answers that are always the same."""
    page = context.new_page()
    page.goto(host.url)
    page.get_by_role("button", name="Download").click()
    until(lambda: page.inner_text("#chosen") == "smollm2")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Longest answer").fill(str(LONGEST))
    page.get_by_label("Temperature").fill("0")
    page.get_by_role("button", name="Done").click()
    return page


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()


def answer(page: Page) -> str:
    """The last answer, when it is over."""
    page.wait_for_selector(".message:last-child.assistant:not(.writing)")
    return page.locator(".message:last-child .prose").inner_text()


def picture(page: Page, name: str) -> None:
    """For people to look at: CI keeps the folder."""
    if where := os.environ.get("POCKETLM_SCREENSHOTS"):
        Path(where).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(where) / f"pocket-{name}.png")


def test_from_the_first_visit_to_an_answer_without_a_network(
    phone: BrowserContext, host: Host, smollm2: Path
) -> None:
    page = phone.new_page()
    host.fast = 2
    page.goto(host.url)
    page.wait_for_selector(".model")
    # The server sends no header for it: the service worker does, and the page was opened again.
    assert page.evaluate("crossOriginIsolated")
    picture(page, "first-visit")
    page.get_by_role("button", name="Download").click()
    until(lambda: len(host.pieces) > 3)
    picture(page, "download")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Go on").wait_for()
    assert "are here" in page.inner_text(".model .hint")
    before = len(host.pieces)
    # The tab is closed meanwhile; what was there is not asked for again.
    page.close()
    page = phone.new_page()
    page.goto(host.url)
    host.fast = 1000
    page.get_by_role("button", name="Go on").click()
    until(lambda: page.inner_text("#chosen") == "smollm2")
    asked = host.pieces
    assert 0 < before < len(set(asked)) == 12
    assert len(asked) <= 12 + 1  # but for the one that was under way
    host.stop()
    page.reload()
    until(lambda: page.inner_text("#chosen") == "smollm2")
    assert page.evaluate("crossOriginIsolated")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Longest answer").fill(str(LONGEST))
    page.get_by_label("Temperature").fill("0")
    page.get_by_role("button", name="Done").click()
    say(page, NUMBERS)
    found = answer(page)
    picture(page, "answer")
    with pocketlm.load(smollm2, threads=1) as desktop:
        turns = [{"role": "user", "content": NUMBERS}]
        sampling = {**CHAT_SAMPLING, "temperature": 0, "max_tokens": LONGEST}
        wanted = desktop.chat(turns, **sampling).text
    assert found == wanted.strip()
    assert re.fullmatch(r"\d+ tokens, [\d.]+ a second", page.locator(".figures").inner_text())
    assert "of 8,192 tokens" in page.locator("#context").get_attribute("title")


def test_a_conversation(phone: BrowserContext, host: Host) -> None:
    page = with_model(phone, host)
    page.locator("#open-models").click()
    assert "98 MB, in use" in page.inner_text("#models-sheet")
    assert "that this browser allows" in page.inner_text("#usage")
    picture(page, "models")
    page.keyboard.press("Escape")
    say(page, QUESTION)
    first = answer(page)
    say(page, "And of the moon?")
    second = answer(page)
    assert second != first
    assert page.locator(".message").count() == 4
    # Answered again, it is the same (greedy); what is edited is answered anew, and last.
    page.get_by_role("button", name="Answer again").click()
    until(lambda: page.locator(".writing").count() == 0)
    assert answer(page) == second
    page.get_by_role("button", name="Edit the message").first.click()
    page.get_by_label("Edit your message").fill("Name a colour.")
    page.locator(".edit").get_by_role("button", name="Send").click()
    until(lambda: page.locator(".message").count() == 2)
    assert answer(page) != first
    # It is there again when the page is; a new chat leaves it in the list.
    page.reload()
    page.wait_for_selector(".message:nth-child(2)")
    page.locator("#new-too").click()
    assert page.locator(".message").count() == 0
    page.get_by_role("button", name="Chats", exact=True).click()
    assert page.locator("#chats a").all_inner_texts() == [QUESTION]
    picture(page, "chats")
    page.locator("#chats li").get_by_role("button").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.locator("#confirm-yes").click()
    until(lambda: page.locator("#chats a").count() == 0)


def test_stopping_and_a_page_that_is_killed(phone: BrowserContext, host: Host) -> None:
    page = with_model(phone, host)
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Longest answer").fill("2000")
    page.get_by_role("button", name="Done").click()
    say(page, "Write a long story about a sailor.")
    until(lambda: len(page.locator(".prose").inner_text()) > 40)
    page.get_by_role("button", name="Stop").click()
    kept = answer(page)
    assert "Stopped." in page.locator(".assistant").inner_text()
    assert len(kept) > 40
    page.get_by_role("button", name="Answer again").click()
    # It is kept every second while it is written.
    until(lambda: len(page.locator(".prose").inner_text()) > 40)
    time.sleep(2)
    address = page.url
    page.close()
    page = phone.new_page()
    page.goto(address)
    page.wait_for_selector(".assistant")
    assert "the page was closed while this was written" in page.inner_text(".assistant")
    assert len(page.locator(".prose").inner_text()) > 20


def test_a_chat_in_two_tabs(phone: BrowserContext, host: Host) -> None:
    one = with_model(phone, host)
    say(one, "Name a colour.")
    answer(one)
    two = phone.new_page()
    two.goto(one.url)
    until(lambda: two.inner_text("#chosen") == "smollm2")
    assert two.locator(".message").count() == 2
    # What is said in one is seen in the other, and known as written there while it is.
    say(one, "And another.")
    until(lambda: two.locator(".message").count() == 4)
    last = answer(one)
    until(lambda: answer(two) == last)
    until(lambda: "another tab" not in two.inner_text(".message:last-child"))
    one.get_by_role("button", name="Settings").click()
    one.get_by_label("Longest answer").fill("2000")
    one.get_by_role("button", name="Done").click()
    say(one, "Write a long story about a sailor.")
    until(lambda: "is being written in another tab" in two.inner_text(".message:last-child"))
    # Said in both at the same time, it is two chats: whichever comes second is the new one.
    say(two, "And a number.")
    answer(two)
    until(lambda: one.url != two.url)
    parted = [page for page in (one, two) if "went on in another tab" in page.inner_text("#notice")]
    assert len(parted) == 1
    one.get_by_role("button", name="Stop").click()
    answer(one)
    for page, questions in ((one, 3), (two, 4)):
        page.reload()
        page.wait_for_selector(f".message:nth-child({2 * questions})")
        assert page.locator(".message").count() == 2 * questions
    assert "sailor" in one.locator(".message").nth(4).inner_text()
    assert "number" in two.locator(".message").nth(6).inner_text()
    assert one.locator("#chats a").count() == 2
    # Removed in one, it is gone in the other, even if that writes to it: and stays so.
    two.goto(one.url)
    until(lambda: two.inner_text("#chosen") == "smollm2" and two.locator(".message").count() == 6)
    say(two, "Write another long story.")
    until(lambda: two.locator(".message").count() == 8)
    one.get_by_role("button", name="Chats", exact=True).click()
    one.locator("#chats li.open").get_by_role("button").click()
    one.get_by_role("menuitem", name="Delete").click()
    one.locator("#confirm-yes").click()
    until(lambda: two.locator(".message").count() == 0)
    until(lambda: two.get_by_role("button", name="Send").is_visible())
    for page in (one, two):
        page.reload()
        until(lambda page=page: page.locator("#chats a").count() == 1)


def test_removing_gives_the_space_back(phone: BrowserContext, host: Host) -> None:
    page = with_model(phone, host)
    used = "navigator.storage.estimate().then(({usage}) => usage)"
    assert page.evaluate(used) > 90_000_000
    page.locator("#open-models").click()
    page.locator("#models-sheet").get_by_role("button", name="Remove").click()
    page.locator("#confirm-yes").click()
    until(lambda: page.evaluate(used) < 10_000_000)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Download").wait_for()
    assert page.inner_text("#chosen") == "No model"


def test_a_newer_page_is_offered(phone: BrowserContext, folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "site"
    shutil.copytree(folder, mine, copy_function=os.link)
    worker = (mine / "sw.js").read_text("utf-8")
    index = (mine / "index.html").read_text("utf-8")
    (build,) = re.findall(r'"([0-9a-f]{16})"', worker)
    with hosting(mine) as host:
        page = with_model(phone, host)
        for name, text in (
            ("sw.js", worker.replace(build, "newer")),
            ("index.html", index.replace("<body", '<body data-newer="1"', 1)),
        ):
            (mine / name).unlink()  # it is the other folder's as well
            (mine / name).write_text(text, "utf-8")
        page.reload()
        page.get_by_text("A newer version of this page is here.").wait_for()
        assert page.locator("body[data-newer]").count() == 0
        page.get_by_role("button", name="Use it").click()
        page.wait_for_selector("body[data-newer]")
    # What was there without a network still is.
    page.reload()
    page.wait_for_selector("body[data-newer]")
    until(lambda: page.inner_text("#chosen") == "smollm2")
    say(page, NUMBERS)
    assert answer(page)
