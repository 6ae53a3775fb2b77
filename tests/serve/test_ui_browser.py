"""The page in a real browser, with the real small model: what it does."""

import json
import re
import time
from pathlib import Path

import pytest
from browsing import holds, keep, trap, until
from servers import end, start
from test_ui_markdown import HOSTILE

pytestmark = pytest.mark.slow

SEA = "Tell me of the sea."
#: Written for longer than any test takes, where answers are `endless`.
STORY = "Write a long story about a sailor."
#: More than a few words of an answer are there.
GROWN = "(document.querySelector('.message:last-child .prose')?.textContent.length ?? 0) > 200"


def titles(page):
    return page.locator("#chats li a > span:first-child").all_inner_texts()


# Talking


def test_a_chat(window):
    page = window.page
    assert page.locator("#empty").is_visible()
    window.longest(60)
    page.evaluate(
        "window.sizes = new Set(); new MutationObserver(() => sizes.add("
        "document.querySelector('.writing .prose')?.textContent.length ?? 0) && "
        "(window.couldStop ||= !document.querySelector('#stop').hidden)"
        ").observe(document.querySelector('#messages'), {childList: true, subtree: true})"
    )
    window.say(SEA)
    page.wait_for_selector(".assistant .prose .block")
    first = window.answered()
    assert page.evaluate("couldStop")
    # It came in parts, however many of them a busy machine draws.
    assert any(0 < size < len(first) for size in page.evaluate("[...sizes]"))
    assert page.get_by_role("button", name="Send").is_visible()
    assert re.search(r"60 tokens, \d+(\.\d)? a second", page.locator(".figures").inner_text())
    assert re.search(r"\d+ of 8,192 tokens", page.locator(".context-words").inner_text())
    assert "Cut" in page.locator(".assistant").inner_text()
    until(lambda: titles(page)[:1] == [SEA])
    assert page.locator("#chats [aria-current=page]").count() == 1
    number = int(re.search(r"#(\d+)$", page.url)[1])
    assert window.ask("And of the moon?")
    assert page.locator(".message").count() == 4
    assert page.locator("#prompt").evaluate("node => node === document.activeElement")
    # What was said is there again after the page is opened anew, and in another window.
    page.reload()
    page.wait_for_selector(".message:nth-child(4)")
    assert page.locator(".assistant .prose").first.inner_text() == first
    assert page.locator("#title").inner_text() == SEA
    other = window.new_page()
    other.goto(f"{window.server.url}/#{number}")
    other.wait_for_selector(".message:nth-child(4)")


def test_what_is_heard(window):
    window.longest(150)
    window.ask(SEA)
    live = window.page.locator("#live")
    assert live.get_attribute("aria-live") == "polite"
    said = live.inner_text()
    assert "The answer is being written" in said
    answer = window.page.locator(".prose").inner_text()
    assert all(said.count(block) == 1 for block in answer.split("\n\n"))
    assert window.page.get_by_role("log").count() == 1
    assert window.page.locator(".assistant").get_attribute("aria-busy") == "false"


@pytest.mark.parametrize("way", ["button", "Escape"])
def test_stopping(window, way):
    window.endless()
    window.say(STORY)
    holds(window.page, GROWN)
    if way == "button":
        window.page.get_by_role("button", name="Stop").click()
    else:
        window.page.keyboard.press("Escape")
    text = window.answered()
    assert len(text) > 150
    assert "Stopped." in window.page.locator(".assistant").inner_text()
    window.server.settled()
    window.page.reload()
    window.page.wait_for_selector(".assistant")
    assert window.page.locator(".assistant .prose").inner_text() == text


def test_answering_again_and_editing(window):
    page = window.page
    window.longest(20)
    first = window.ask(SEA)
    assert window.answers_to(page.get_by_role("button", name="Answer again").click) == first
    page.get_by_role("button", name="Edit the message").click()
    area = page.get_by_label("Edit your message")
    assert area.input_value() == SEA
    page.keyboard.press("Escape")
    assert page.locator(".user .said").inner_text() == SEA
    page.get_by_role("button", name="Edit the message").click()
    area.fill("Tell me of the moon.")
    send = page.get_by_role("button", name="Send", exact=True).first
    assert "moon" in window.answers_to(send.click)
    assert page.locator(".message").count() == 2
    page.reload()
    page.wait_for_selector(".assistant")
    assert page.locator(".user .said").all_inner_texts() == ["Tell me of the moon."]


def test_another_chat_while_one_is_written(window):
    page = window.page
    window.endless()
    window.say(STORY)
    holds(page, GROWN)
    page.get_by_role("button", name="New chat").click()
    assert page.locator(".message").count() == 0
    assert page.get_by_role("button", name="Send").is_visible()
    until(lambda: titles(page)[:1] == [STORY])
    page.locator("#chats a").first.click()
    page.wait_for_selector(".writing")
    holds(page, GROWN)
    page.keyboard.press("Escape")
    window.answered()


# Chats


def test_the_list_of_chats(windows, serve, smollm2):
    server = serve(smollm2)
    for number in range(3):
        keep(server, f"Question {number} about the sea", "It is deep.")
    keep(server, SEA, "It is **Paris**.", title="Capitals")
    window = windows(server)
    page = window.open()
    page.wait_for_selector("#chats li")
    assert titles(page)[0] == "Capitals"
    page.get_by_label("Search chats").fill("paris")
    until(lambda: titles(page) == ["Capitals"])
    page.locator("#chats a").click()
    page.wait_for_selector(".assistant strong")
    page.get_by_label("Search chats").fill("")
    until(lambda: len(titles(page)) == 4)

    def choose(what):
        page.get_by_role("button", name="More about Capitals").click()
        page.get_by_role("menuitem", name=what).click()

    with page.expect_download() as caught:
        choose("Export as Markdown")
    assert caught.value.suggested_filename == "Capitals.md"
    assert "It is **Paris**." in Path(caught.value.path()).read_text()
    with page.expect_download() as caught:
        choose("Export as JSON")
    assert json.loads(Path(caught.value.path()).read_text())["messages"][0]["content"] == SEA
    choose("Rename")
    page.get_by_label("The chat's name").fill("Of France")
    page.keyboard.press("Enter")
    until(lambda: titles(page)[0] == "Of France")
    assert page.locator("#title").inner_text() == "Of France"
    page.get_by_role("button", name="More about Of France").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("button", name="Cancel").click()
    assert len(titles(page)) == 4
    page.get_by_role("button", name="More about Of France").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    until(lambda: len(titles(page)) == 3)
    assert page.locator(".message").count() == 0
    assert page.locator("#empty").is_visible()


def test_incognito(window):
    page = window.page
    page.get_by_role("button", name="Incognito chat").click()
    assert "nothing of this chat is kept" in page.locator("#kept").inner_text()
    window.longest(10)
    window.ask("My secret is a blue door.")
    window.ask("What is my secret?")
    assert page.locator(".message").count() == 4
    assert page.url == window.server.url + "/"
    assert not any("secret" in title for title in titles(page))
    assert b"blue door" not in b"".join(
        path.read_bytes() for path in window.server.home.glob("history.db*")
    )
    page.reload()
    holds(page, "document.querySelector('#model').value !== ''")
    assert page.locator(".message").count() == 0


# What goes along


def test_attached_files(window, tmp_path):
    page = window.page
    (tmp_path / "notes.txt").write_text("The password is swordfish.")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\0\xff\xfe")
    window.longest(10)
    page.locator("#files").set_input_files([tmp_path / "notes.txt", tmp_path / "picture.png"])
    page.wait_for_selector("#attached .chip")
    assert page.locator("#attached .chip").count() == 1
    assert "picture.png: it is no UTF-8 text" in page.locator("#notice").inner_text()
    page.locator("#files").set_input_files([tmp_path / "notes.txt"])
    page.wait_for_selector("#attached .chip:nth-child(2)")
    page.get_by_role("button", name="Remove notes.txt").first.click()
    window.ask("What is the password?")
    assert page.locator(".user .chip").inner_text().split("\n")[0] == "notes.txt"
    assert page.locator("#attached .chip").count() == 0
    number = re.search(r"#(\d+)$", page.url)[1]
    exported = window.server.http.get(f"/ui/chats/{number}/export.json").json()
    assert exported["messages"][0]["content"] == (
        "What is the password?\n\n--- notes.txt ---\nThe password is swordfish.\n"
        "--- end of notes.txt ---"
    )


def test_files_are_dropped(window):
    data = window.page.evaluate_handle(
        "() => { const d = new DataTransfer();"
        " d.items.add(new File(['some text'], 'a.md', {type: 'text/markdown'})); return d }"
    )
    window.page.dispatch_event("body", "dragenter", {"dataTransfer": data})
    assert window.page.locator("#drop").is_visible()
    window.page.dispatch_event("body", "drop", {"dataTransfer": data})
    window.page.wait_for_selector("#attached .chip")
    assert not window.page.locator("#drop").is_visible()


def test_presets_and_settings(window):
    page = window.page
    page.get_by_label("Model or preset").select_option("pirate")
    page.get_by_role("button", name="Settings").click()
    assert page.get_by_label("System prompt").get_attribute("placeholder") == "You are a pirate."
    assert page.get_by_label("Longest answer").get_attribute("placeholder") == "5"
    assert page.get_by_label("Temperature").get_attribute("placeholder") == "0"
    page.keyboard.press("Escape")
    assert not page.locator("#settings").is_visible()
    window.ask(SEA)
    assert page.locator(".figures").inner_text().startswith("5 tokens")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Longest answer").fill("3")
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_role("button", name="Done").click()
    window.ask("And of the moon?")
    assert page.locator(".figures").last.inner_text().startswith("3 tokens")
    number = re.search(r"#(\d+)$", page.url)[1]
    assert window.server.http.get(f"/ui/chats/{number}").json()["system"] == "Be brief."
    # The choice of a model is remembered.
    page.get_by_role("button", name="New chat").click()
    page.reload()
    holds(page, "document.querySelector('#model').value === 'pirate'")


# What is shown


def test_markdown_code_and_formulas(windows, shop):
    text = (
        "## Title\n\nSome `code`.\n\n```python\nprint(1 < 2)\n```\n\n"
        "| a | b |\n|---|--:|\n| 1 | 2 |\n\n"
        "$$\n\\frac{a}{b} = \\sqrt{x}\n$$\n\n[a site](https://a.example/x)"
    )
    number = keep(shop, "Show me.", text)
    window = windows(shop, permissions=["clipboard-read", "clipboard-write"])
    page = window.open(f"/#{number}")
    page.wait_for_selector(".prose figure")
    assert page.locator("figcaption span").inner_text() == "python"
    page.get_by_role("button", name="Copy the code").click()
    until(lambda: page.evaluate("navigator.clipboard.readText()") == "print(1 < 2)\n")
    page.get_by_role("button", name="Copy the answer").click()
    until(lambda: page.evaluate("navigator.clipboard.readText()") == text)
    box = page.locator("math mfrac").bounding_box()
    assert box["height"] > 24  # it is drawn as a fraction
    assert page.evaluate("document.querySelector('math').namespaceURI").endswith("MathML")
    link = page.locator(".prose a")
    assert (link.get_attribute("target"), link.get_attribute("rel")) == (
        "_blank",
        "noopener noreferrer",
    )
    assert "(a.example)" in page.locator(".prose").inner_text()


def test_hostile_text_does_nothing(windows, shop):
    """Whatever a model writes: no request leaves, nothing runs."""
    with trap() as site:
        texts = [text.replace("https://evil.example", site.url) for text in HOSTILE]
        texts = [text.replace("//evil.example", f"//127.0.0.1:{site.port}") for text in texts]
        texts = [re.sub(r"alert\(\d?\)", "window.pwned=1", text) for text in texts]
        texts += [
            f"![x]({site.url}/image)",
            f"[![x]({site.url}/image)]({site.url})",
            f'<img src="{site.url}/raw">',
            f"<link rel=prefetch href={site.url}/p><link rel=dns-prefetch href=//p.example>",
            f"[x]({site.url}/link)",
            f"```\n<img src={site.url}/code>\n```",
            f"| ![x]({site.url}/cell) |\n|---|\n| x |",
            f"$\\text{{<img src={site.url}/formula>}}$",
        ]
        turns = [part for text in texts for part in ("Show me.", text)]
        number = keep(shop, *turns, "All of it.", "\n\n".join(texts))
        window = windows(shop)
        page = window.open(f"/#{number}")
        page.wait_for_selector(f".message:nth-child({len(turns) + 2})")
        page.mouse.wheel(0, 100_000)
        page.wait_for_timeout(500)
        assert page.evaluate("window.pwned") is None
        assert site.asked == []
        allowed = "a, math, .icon"
        assert (
            page.locator(".prose :is(img, svg:not(.icon), iframe, script, style, link)").count()
            == 0
        )
        assert page.locator(f".prose :not({allowed})[href]:not(use)").count() == 0
        assert page.locator(".prose [onerror], .prose [onload], .prose [style]").count() == 0


def test_nothing_but_the_servers_html_becomes_html(window):
    refused = window.page.evaluate(
        "() => { try { document.body.innerHTML = '<b>x</b>'; return false } catch { return true } }"
    )
    made = window.page.evaluate(
        "() => { try { trustedTypes.createPolicy('mine', {}); return true }"
        " catch { return false } }"
    )
    window.faults.clear()  # the browser tells of both
    assert refused
    assert not made


# Where something goes wrong


def test_the_key_is_asked_for(windows, serve, smollm2):
    server = serve(smollm2, POCKETLM_API_KEY="open sesame")
    window = windows(server)
    page = window.page
    page.goto(server.url)
    page.get_by_label("Key", exact=True).fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("This was not the key.").wait_for()
    page.get_by_label("Key", exact=True).fill("open sesame")
    page.get_by_role("button", name="Go on").click()
    holds(page, "document.querySelector('#model').value !== ''")
    assert not page.locator("#ask-key").is_visible()
    window.longest(20)
    assert "sea" in window.ask(SEA)
    page.reload()
    page.wait_for_selector(".assistant")
    assert not page.locator("#ask-key").is_visible()
    assert "open sesame" not in page.url
    assert page.evaluate("JSON.stringify(localStorage)").find("sesame") == -1


def test_a_server_that_ends_and_comes_again(windows, smollm2, tmp_path):
    server = start(tmp_path / "home", smollm2)
    window = windows(server)
    page = window.open()
    window.longest(12)
    window.ask(SEA)
    window.endless()
    window.say(STORY)
    holds(page, GROWN)
    time.sleep(1.2)  # it is saved every second
    server.process.kill()
    server.process.wait()
    page.get_by_text("The connection to the server broke.").wait_for()
    window.longest(12)
    window.say("Are you there?")
    page.get_by_text("The server does not answer.").wait_for()
    assert page.get_by_label("Message", exact=True).input_value() == "Are you there?"
    again = start(tmp_path / "home", smollm2, port=int(server.url.rpartition(":")[2]))
    try:
        page.keyboard.press("Control+A")
        page.get_by_label("Message", exact=True).press("Enter")
        page.wait_for_selector(".writing")
        window.answered()
        said = page.locator(".user .said").all_inner_texts()
        assert said == [SEA, STORY, "Are you there?"]
    finally:
        end(again)


def test_what_does_not_fit_comes_back(window):
    text = "word " * 9000
    window.say(text)
    window.page.get_by_text("The prompt has").wait_for()
    assert window.page.get_by_label("Message", exact=True).input_value() == text.strip()
    assert window.page.locator(".message").count() == 0
