"""Models in the browser's own storage: downloads that break off, and what is there afterwards."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from playwright.sync_api import BrowserContext, Page

from pocket.web.site import Site

PIECE = 1 << 18
#: Five pieces, the last one short.
CONTENT = np.random.default_rng(0).bytes(4 * PIECE + 1000)
OTHER = np.random.default_rng(1).bytes(3 * PIECE + 500)

DOWNLOAD = """async (name) => caught(async () => {
  const entry = (await pocket.catalogue()).find((each) => each.name === name);
  globalThis.told = [];
  await pocket.download(entry, { onProgress: (have, total) => told.push([have, total]) });
})"""
#: The bytes of all files there are in the page's folder, by name.
FILES = """async () => {
  const folder = await models();
  const found = {};
  for await (const [name, handle] of folder.entries()) found[name] = (await handle.getFile()).size;
  return found;
}"""
#: The SHA-256 of the one file of a model.
HASH = """async () => {
  const folder = await models();
  for await (const [name, handle] of folder.entries()) {
    if (!name.endsWith(".gguf")) continue;
    const bytes = await (await handle.getFile()).arrayBuffer();
    const digest = await crypto.subtle.digest("SHA-256", bytes);
    return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }
}"""


def download(page: Page, name: str = "model") -> Any:
    """None, or the error."""
    return page.evaluate(DOWNLOAD, name)


def stored(page: Page) -> dict[str, tuple[int, bool]]:
    """How much there is of each model, and whether it is all."""
    return {
        each["name"]: (each["have"], each["complete"]) for each in page.evaluate("pocket.stored()")
    }


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_model_is_stored_whole(opened: Callable[[], Page], site: Site) -> None:
    entry = site.add("model", CONTENT)
    page = opened()
    assert stored(page) == {}
    assert download(page) is None
    assert stored(page) == {"model": (len(CONTENT), True)}
    assert page.evaluate(HASH) == entry["sha256"]
    told = page.evaluate("told")
    assert told[0] == [0, len(CONTENT)]
    assert told[-1] == [len(CONTENT)] * 2
    assert page.evaluate("pocket.usage()")["usage"] >= len(CONTENT)
    # Another time nothing is fetched.
    assert download(page) is None
    assert len(site.asked) == 1
    assert page.evaluate("pocket.remove('model')") is None
    assert stored(page) == {}
    assert page.evaluate(FILES) == {}


def test_an_interrupted_download_goes_on(opened: Callable[[], Page], site: Site) -> None:
    site.add("model", CONTENT)
    site.status = 500
    page = opened()
    assert download(page)["code"] == "network"
    site.status, site.cut = None, 2 * PIECE
    # Each attempt brings pieces, so the download gets there by itself.
    assert download(page) is None
    begins = [int(wanted[len("bytes=") : -1]) for _, wanted in site.asked if wanted]
    assert begins == sorted(begins)
    assert begins[-1] >= 2 * PIECE
    assert all(begin % PIECE == 0 for begin in begins)
    assert stored(page) == {"model": (len(CONTENT), True)}


def test_a_tab_that_is_killed_loses_nothing(opened: Callable[[], Page], site: Site) -> None:
    entry = site.add("model", CONTENT)
    site.pause = 0.15
    page = opened()
    page.evaluate("pocket.catalogue().then(([entry]) => pocket.download(entry)) && null")
    until(lambda: stored(page).get("model", (0, False))[0] >= 2 * PIECE)
    page.close()
    site.pause = 0
    page = opened()
    have, complete = stored(page)["model"]
    assert 2 * PIECE <= have < len(CONTENT)
    assert not complete
    assert page.evaluate("caught(() => pocket.load('model'))")["code"] == "missing"
    site.asked.clear()
    assert download(page) is None
    assert site.asked == [("model", f"bytes={have}-")]
    assert page.evaluate(HASH) == entry["sha256"]


def test_a_state_that_was_half_written_costs_no_fetching(
    opened: Callable[[], Page], site: Site
) -> None:
    entry = site.add("model", CONTENT)
    page = opened()
    assert download(page) is None
    page.evaluate(
        """async () => {
          const folder = await models();
          for await (const [name, handle] of folder.entries()) {
            const file = await handle.createWritable({ keepExistingData: true });
            // Of the model all but a byte in the third piece is as it was.
            const [position, data] = name.endsWith(".json") ? [30, "\\u0000"] : [600000, "?"];
            await file.write({ type: "write", position, data });
            await file.close();
          }
        }"""
    )
    site.asked.clear()
    assert stored(page) == {"model": (0, False)}
    assert download(page) is None
    assert site.asked == [("model", f"bytes={2 * PIECE}-")]
    assert page.evaluate(HASH) == entry["sha256"]


def test_a_piece_that_stays_damaged(opened: Callable[[], Page], site: Site) -> None:
    site.add("model", CONTENT)
    site.spoil = 3 * PIECE + 5
    page = opened()
    error = download(page)
    assert error["code"] == "damaged"
    assert "piece 4 of 5" in error["message"]
    assert stored(page) == {"model": (3 * PIECE, False)}
    site.spoil = None
    assert download(page) is None
    assert stored(page) == {"model": (len(CONTENT), True)}


def test_no_room_is_told_before_anything_is_fetched(
    context: BrowserContext, opened: Callable[[], Page], site: Site
) -> None:
    site.add("model", CONTENT)
    page = opened()
    session = context.new_cdp_session(page)
    session.send("Storage.overrideQuotaForOrigin", {"origin": site.url, "quotaSize": 600_000})
    error = download(page)
    assert error["code"] == "storage"
    assert "needs 1 MB more" in error["message"]
    assert "no room" in error["message"]
    assert site.asked == []
    assert stored(page) == {"model": (0, False)}
    session.send("Storage.overrideQuotaForOrigin", {"origin": site.url})
    assert download(page) is None


def test_room_is_kept_for_what_was_begun(
    context: BrowserContext, opened: Callable[[], Page], site: Site
) -> None:
    """What others store meanwhile takes nothing away."""
    site.add("model", CONTENT)
    site.pause = 0.1
    page = opened()
    session = context.new_cdp_session(page)
    page.evaluate(
        "globalThis.done = pocket.catalogue().then(([entry]) => pocket.download(entry)); null"
    )
    until(lambda: stored(page).get("model", (0, False))[0] >= PIECE)
    session.send("Storage.overrideQuotaForOrigin", {"origin": site.url, "quotaSize": 1_100_000})
    page.evaluate("done")
    assert stored(page) == {"model": (len(CONTENT), True)}


def test_two_tabs(opened: Callable[[], Page], site: Site) -> None:
    site.add("model", CONTENT)
    site.add("other", OTHER)
    site.pause = 0.1
    first, second = opened(), opened()
    first.evaluate(
        "globalThis.done = pocket.catalogue().then(([entry]) => pocket.download(entry)); null"
    )
    until(lambda: stored(first).get("model", (0, False))[0] > 0)
    error = download(second)
    assert error["code"] == "busy"
    assert "Another tab" in error["message"]
    assert second.evaluate("caught(() => pocket.remove('model'))")["code"] == "busy"
    assert stored(second)["model"][0] > 0  # one may look
    assert download(second, "other") is None
    first.evaluate("done")
    assert stored(second) == {"model": (len(CONTENT), True), "other": (len(OTHER), True)}


def test_a_newer_file_arrives_beside_the_old_one(opened: Callable[[], Page], site: Site) -> None:
    old = site.add("model", CONTENT)
    page = opened()
    assert download(page) is None
    new = site.add("model", OTHER)
    site.spoil = 2 * PIECE
    assert download(page)["code"] == "damaged"
    [kept] = page.evaluate("pocket.stored()")
    assert kept["complete"]
    assert kept["sha256"] == old["sha256"]
    site.spoil = None
    site.asked.clear()
    assert download(page) is None
    assert site.asked == [("model", f"bytes={2 * PIECE}-")]
    [kept] = page.evaluate("pocket.stored()")
    assert kept["complete"]
    assert kept["sha256"] == new["sha256"]
    assert sorted(page.evaluate(FILES).values())[-1] == len(OTHER)
    assert len(page.evaluate(FILES)) == 2


def test_a_list_that_is_behind_the_server(opened: Callable[[], Page], site: Site) -> None:
    site.add("model", CONTENT)
    page = opened()
    page.evaluate("pocket.catalogue().then((entries) => (globalThis.entries = entries)) && null")
    until(lambda: page.evaluate("globalThis.entries !== undefined"))
    site.add("model", OTHER)
    error = page.evaluate("caught(() => pocket.download(entries[0]))")
    assert error["code"] == "damaged"
    assert "changed on the server" in error["message"]
    site.models.clear()
    error = page.evaluate("caught(() => pocket.download(entries[0]))")
    assert error["code"] == "network"
    assert "no file" in error["message"]


def test_a_download_is_stopped(opened: Callable[[], Page], site: Site) -> None:
    site.add("model", CONTENT)
    site.pause = 0.1
    page = opened()
    error = page.evaluate(
        """async () => {
          const [entry] = await pocket.catalogue();
          const stop = new AbortController();
          const onProgress = (have) => have > 300000 && stop.abort();
          return caught(() => pocket.download(entry, { onProgress, signal: stop.signal }));
        }"""
    )
    assert error["name"] == "AbortError"
    have, complete = stored(page)["model"]
    assert have >= PIECE
    assert not complete
    assert page.evaluate("pocket.remove('model')") is None
    assert page.evaluate(FILES) == {}


def test_lists_that_are_none(opened: Callable[[], Page], site: Site) -> None:
    page = opened()
    site.entries = "no list"  # type: ignore[assignment]
    assert page.evaluate("caught(() => pocket.catalogue())")["code"] == "network"
    site.entries = []
    entry = {**site.add("model", CONTENT), "pieces": ["00"]}
    error = page.evaluate("(entry) => caught(() => pocket.download(entry))", entry)
    assert error["code"] == "damaged"
    gone = page.evaluate("caught(() => new Pocket({ base: 'http://127.0.0.1:9/' }).catalogue())")
    assert gone["code"] == "network"
    assert "does not answer" in gone["message"]


def test_a_page_without_encryption_keeps_nothing(context: BrowserContext, site: Site) -> None:
    page = context.new_page()
    site.add("model", CONTENT)
    page.goto(f"http://plain.example:{site.port}/")
    errors = page.evaluate(
        """async () => {
          const { Pocket } = await import("/web/client.js");
          const caught = (act) => act.catch(({ code, message }) => ({ code, message }));
          const pocket = new Pocket();
          const [entry] = await pocket.catalogue();
          return [await caught(pocket.stored()), await caught(pocket.download(entry))];
        }"""
    )
    for error in errors:
        assert error["code"] == "unsupported"
        assert "https" in error["message"]
