"""The page's switches for search and tools, in a real browser with the real small model."""

import re

import pytest
from browsing import holds, trap, until
from library import ORLO, SUM, WHEN, library
from servers import end
from test_ui_looks import CONTRAST
from test_ui_markdown import HOSTILE

from pocketlm.chat.conversation import Conversation
from pocketlm.chat.history import History

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site():
    with trap() as found:
        yield found


@pytest.fixture(scope="module")
def shelf(smollm2, tmp_path_factory, site):
    """A server that searches documents and has tools; the web is there, and cannot be reached."""
    server = library(
        tmp_path_factory.mktemp("shelf") / "home",
        smollm2,
        *("--search", "docs", "--tools", "calculator,dates"),
        trap=site.url,
    )
    yield server
    end(server)


@pytest.fixture
def window(windows, shelf):
    found = windows(shelf)
    found.open()
    return found


def switch(page, name):
    return page.get_by_role("button", name=re.compile(name))


def ask(window, text):
    """Ask, and wait for the answer, which may be there at once."""
    page = window.page
    before = page.locator(".message").count()
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()
    page.wait_for_selector(f".message:nth-child({before + 2}).assistant:not(.writing)")
    return page.locator(".assistant .prose").last.inner_text()


def focused(page):
    return page.evaluate("document.activeElement.dataset.number ?? document.activeElement.id")


def keep_sourced(server, *answers):
    """Put answers with these sources into the history. The chat's number."""
    chat = Conversation()
    for sources in answers:
        chat.add_user("Show me.")
        message = {"role": "assistant", "content": sources["text"], "sources": sources}
        chat.messages.append(message)
    with History(server.home / "history.db") as history:
        history.save(chat, model="m", fingerprint="f")
    return chat.id


def test_there_are_no_switches_where_nothing_is_offered(windows, shop):
    page = windows(shop).open()
    assert page.locator(".switch:visible").count() == 0


def test_searching(window):
    page = window.page
    search = switch(page, "^Search your documents$")
    assert search.get_attribute("aria-pressed") == "false"
    # By the keyboard alone.
    page.get_by_label("Message", exact=True).focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert focused(page) == "search-switch"
    page.keyboard.press("Space")
    assert search.get_attribute("aria-pressed") == "true"
    assert page.locator("#kept").inner_text() == "Questions are looked up in your documents"
    page.reload()
    holds(page, "document.querySelector('#search-switch').ariaPressed === 'true'")
    page.evaluate(
        "window.waits = new Set(); new MutationObserver(() => waits.add("
        "document.querySelector('.waiting span')?.textContent ?? '')"
        ").observe(document.querySelector('#messages'), {childList: true, subtree: true})"
    )
    answer = ask(window, WHEN)
    assert answer == "17421"  # the number is a button beside it
    seen = page.evaluate("[...waits]")
    assert {"Searching docs …", "Reading 2 passages …"} & {*seen}, seen
    source = page.get_by_role("region", name="Sources").get_by_role("listitem")
    assert "The mill at Ashford" in source.inner_text()
    assert source.locator("code").inner_text().endswith("/texts/mill.md")
    assert "built in 1742" in source.locator("blockquote").inner_text()
    assert not source.locator(".passage").is_visible()
    page.get_by_text("The whole passage").click()
    assert "a fire destroyed the roof" in source.locator(".passage").inner_text()
    assert "built in 1742" in source.locator("mark").inner_text()
    page.get_by_role("button", name="Source 1: The mill at Ashford").click()
    assert focused(page) == "1"
    # It is there again after the page is opened anew.
    page.reload()
    page.get_by_role("button", name="Source 1: The mill at Ashford").wait_for()
    assert source.count() == 1
    # What is no question is answered as ever, and that is said.
    window.longest(8)
    ask(window, "Write a poem.")
    assert "Not looked up" in page.locator(".assistant").last.inner_text()


def test_what_is_not_found_can_be_answered_without(window):
    page = window.page
    switch(page, "^Search").click()
    window.longest(12)
    assert ask(window, "Who painted the Mona Lisa?") == "I could not find this."
    page.get_by_role("button", name="Answer without search").click()
    page.wait_for_selector(".figures")
    assert window.answered() not in ("", "I could not find this.")
    assert page.locator(".message").count() == 2
    assert "Not looked up" not in page.locator(".assistant").inner_text()


def test_tools(window):
    page = window.page
    tools = switch(page, "^Tools: calculate, date_time$")
    tools.click()
    assert "391" in ask(window, SUM)
    trace = page.locator(".trace")
    assert trace.locator("summary").inner_text() == "Used calculate"
    assert not trace.locator("pre").is_visible()
    trace.locator("summary").click()
    assert trace.locator("code").inner_text() == "17 * 23"
    assert trace.locator("pre").inner_text() == "391"
    page.reload()
    page.wait_for_selector(".trace")
    assert trace.locator("summary").inner_text() == "Used calculate"
    assert "391" in page.locator(".assistant .prose").inner_text()
    tools.click()
    window.longest(12)
    ask(window, SUM)
    assert page.locator(".trace").count() == 1


def test_unsupported_sentences_and_forged_numbers_are_seen(windows, shelf):
    cited = {"number": 1, "source": "https://mill.example/history", "title": "The mill"}
    cited |= {"passage": "It was built in 1742.", "quote": "It was built in 1742."}
    text = "It was built in 1742. [1] It is haunted. [unsupported] So they say. [2] `[1]`"
    sources = {"text": text, "found": True, "citations": [{**cited, "supported": True}]}
    number = keep_sourced(shelf, {**sources, "problems": ["wiki: it is damaged"]})
    page = windows(shelf).open(f"/#{number}")
    page.wait_for_selector(".sources")
    assert page.locator(".doubtful").inner_text() == "It is haunted."
    assert page.locator(".doubt").inner_text() == "no source says this"
    assert page.locator(".cite").count() == 1
    assert "[2]" in page.locator(".prose").inner_text()
    assert page.locator(".prose code").inner_text() == "[1]"
    link = page.locator(".source a")
    assert link.inner_text() == "mill.example/history"
    assert link.get_attribute("rel") == "noopener noreferrer"
    assert page.locator(".source details").count() == 0  # the quote is all of it
    assert "Without wiki: it is damaged" in page.locator(".sources").inner_text()


def test_hostile_passages_do_nothing(windows, shelf, site):
    """Whatever a document says: no request leaves, nothing runs, no source is forged."""
    window = windows(shelf)
    page = window.open()
    switch(page, "^Search").click()
    ask(window, ORLO)
    source = page.locator(".source")
    assert source.count() == 1
    assert "onerror" in source.locator("blockquote").inner_text()
    page.get_by_text("The whole passage").click()
    texts = [text.replace("https://evil.example", site.url) for text in HOSTILE]
    texts = [re.sub(r"alert\(\d?\)", "window.pwned=1", text) for text in texts]
    answers = [
        {
            "text": f"{text} [1]",
            "found": True,
            "citations": [
                {"number": 1, "source": text, "title": text, "passage": text, "quote": text[:40]}
                | {"supported": False}
            ],
            "problems": [text],
        }
        for text in [*texts, "javascript:window.pwned=1", f"{site.url}/link"]
    ]
    number = keep_sourced(shelf, *answers)
    page.goto(f"{shelf.url}/#{number}")
    page.wait_for_selector(f".message:nth-child({2 * len(answers)})")
    for summary in page.locator("summary").all():
        summary.evaluate("node => node.click()")
    page.mouse.wheel(0, 100_000)
    page.wait_for_timeout(300)
    assert page.evaluate("window.pwned") is None
    assert site.asked == []
    inside = ":is(.prose, .sources)"
    assert page.locator(f"{inside} :is(img, svg:not(.icon), iframe, script, style)").count() == 0
    assert page.locator(".sources :is([onerror], [onload], [style])").count() == 0
    for href in page.locator(".sources a").evaluate_all("all => all.map((a) => a.href)"):
        assert href.startswith(("http://", "https://"))


def test_an_error_of_a_search_can_be_answered_without(windows, smollm2, tmp_path):
    server = library(tmp_path / "home", smollm2, "--search", "wiki")
    window = windows(server)
    page = window.open()
    switch(page, "^Search the encyclopedia$").click()
    window.longest(8)
    window.say(WHEN)
    page.get_by_text("No encyclopedia was added").wait_for()
    page.get_by_role("button", name="Answer without search").click()
    page.wait_for_selector(".figures")
    assert window.answered()
    end(server)


@pytest.mark.parametrize(
    ("name", "size", "scheme"),
    [
        ("desktop-light", (1280, 800), "light"),
        ("phone-dark", (390, 844), "dark"),
    ],
)
def test_pictures(windows, shelf, pictures, name, size, scheme):
    phone = size[0] < 500
    window = windows(
        shelf,
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        has_touch=phone,
        is_mobile=phone,
        device_scale_factor=2 if phone else 1,
    )

    def picture(what):
        page.wait_for_timeout(150)
        assert page.evaluate(CONTRAST) == []
        page.screenshot(path=pictures / f"{name}-{what}.png")

    page = window.open()
    switch(page, "^Search").click()
    switch(page, "^Tools").click()
    picture("switches")
    ask(window, WHEN)
    page.get_by_text("The whole passage").click()
    picture("passage")
    ask(window, "Who painted the Mona Lisa?")
    picture("sources")
    ask(window, SUM)
    ask(window, "What is 2024-03-01 - 30 days?")
    page.locator(".trace summary").last.click()
    picture("tools")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= size[0]
    until(lambda: page.locator(".trace").count() == 2)
