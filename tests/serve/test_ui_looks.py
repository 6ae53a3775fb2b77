"""The page in a real browser: how it looks and feels, and pictures of it."""

import json
import re

import pytest
from browsing import holds, keep
from servers import end, start

STORY = "Write a long story about a sailor."

pytestmark = pytest.mark.slow


def test_light_and_dark(windows, shop):
    window = windows(shop, color_scheme="dark")
    page = window.open()

    def brightness():
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3

    assert brightness() < 60
    page.emulate_media(color_scheme="light")
    assert brightness() > 200
    page.get_by_role("radio", name="Dark").check(force=True)
    assert brightness() < 60
    page.reload()
    assert brightness() < 60
    page.get_by_role("radio", name="As the system has them").check(force=True)
    assert brightness() > 200


CONTRAST = """() => {
  const rgb = (text) => {
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    context.fillStyle = text;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const light = (c) => {
    const part = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = c.map((v) => part(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const words = walker.currentNode.data.trim();
    if (!words || !node.checkVisibility({ visibilityProperty: true })) continue;
    if (node.closest(".unseen, option, .skip, noscript, script, style")) continue;
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push([node.className || node.tagName, words.slice(0, 30), ratio]);
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(windows, shop, scheme):
    number = keep(
        shop,
        "Show me.",
        "> A quote\n\n`code` [x](https://a.example)\n\n```sh\nls\n```\n\n| a |\n|---|\n| b |",
        "And?",
    )
    window = windows(shop, color_scheme=scheme)
    page = window.open(f"/#{number}")
    page.wait_for_selector(".prose figure")
    assert page.evaluate(CONTRAST) == []
    for button in ("Settings", "Keyboard shortcuts"):
        page.get_by_role("button", name=button).click()
        assert page.evaluate(CONTRAST) == []
        page.keyboard.press("Escape")
    page.get_by_role("button", name="New chat").click()
    page.wait_for_selector("#empty")
    assert page.evaluate(CONTRAST) == []
    page.evaluate("document.querySelector('#search').placeholder")


def test_everything_has_a_name(windows, shop):
    number = keep(shop, "Show me.", "```sh\nls\n```")
    window = windows(shop)
    page = window.open(f"/#{number}")
    page.wait_for_selector(".prose figure")
    for role in ("button", "textbox", "searchbox", "combobox", "radio", "link", "spinbutton"):
        for node in page.get_by_role(role, include_hidden=True).all():
            if node.get_attribute("type") == "file":
                continue  # it is a button's, and never shown
            name = node.evaluate(
                "n => n.ariaLabel || n.innerText || n.textContent"
                " || [...(n.labels ?? [])].map(l => l.textContent).join('')"
            )
            assert name.strip(), node.evaluate("n => n.outerHTML")
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.get_by_role("main").count() == 1
    assert page.locator("h1").count() == 1
    assert [page.get_by_role(role).count() for role in ("complementary", "navigation")] == [1, 1]


def test_the_keyboard_alone(window):
    page = window.page
    focused = "(n => n.id || n.getAttribute('aria-label') || n.className)(document.activeElement)"
    holds(page, "document.activeElement.id === 'prompt'")  # all is there
    page.evaluate("document.querySelector('.skip').focus()")
    seen = ["skip"]
    for _ in range(150):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(focused))
        outline = page.evaluate(
            "() => { const n = document.activeElement; const s = getComputedStyle(n);"
            " const l = n.closest('label, form') && getComputedStyle(n.closest('label, form'));"
            " const seen = (s) => s.outlineStyle !== 'none' || s.boxShadow !== 'none';"
            " return seen(s) || (l && (seen(l) || l.borderStyle !== 'none')) }"
        )
        assert outline or seen[-1] in ("", "scroll"), seen[-1]
        if seen[-1] == "attach":
            break
    assert seen[-1] == "attach", seen
    order = [seen.index(name) for name in ("skip", "new", "search", "model", "prompt", "attach")]
    assert order == sorted(order)
    page.keyboard.press("Control+k")
    assert page.evaluate(focused) == "search"
    page.keyboard.press("Control+Shift+o")
    assert page.evaluate(focused) == "prompt"
    page.keyboard.press("Control+,")
    assert page.locator("#settings").is_visible()
    page.get_by_label("Longest answer").fill("8")
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("/")
    assert page.evaluate(focused) == "prompt"
    page.keyboard.type("Hello")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("there")
    window.answers_to(lambda: page.keyboard.press("Enter"))
    assert page.locator(".user .said").inner_text() == "Hello\nthere"
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focused) == "Edit your message"
    page.keyboard.type(" again")
    window.answers_to(lambda: page.keyboard.press("Control+Enter"))
    assert page.locator(".user .said").inner_text() == "Hello\nthere again"
    # The menu of a chat: opened, walked through and closed.
    page.keyboard.press("Control+k")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Rename"
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == "Export as Markdown"
    page.keyboard.press("Escape")
    assert not page.locator("#menu").is_visible()
    assert page.evaluate(focused).startswith("More about")


WIDE = (
    "A word: "
    + "wide" * 60
    + "\n\n```text\n"
    + "x" * 300
    + "\n```\n\n|"
    + "a column |" * 14
    + "\n|"
    + "---|" * 14
    + "\n|"
    + "wide cell |" * 14
    + "\n\n$$\n"
    + "a + " * 60
    + "b\n$$\n\n"
    "https://a.example/" + "x" * 200 + "\n\n`" + "y" * 200 + "`"
)


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_width_makes_it_scroll_sideways(windows, shop, width):
    number = keep(shop, "wide" * 80, WIDE, title="t" * 150)
    window = windows(shop, viewport={"width": width, "height": 844}, has_touch=width < 500)
    page = window.open(f"/#{number}")
    page.wait_for_selector(".prose figure")

    def overflow():
        return page.evaluate(
            "() => ['html', '#scroll', '.bar', '#chats'].map(s => document.querySelector(s))"
            ".map(n => n.scrollWidth - n.clientWidth)"
        )

    assert overflow() == [0, 0, 0, 0]
    if width < 800:
        page.get_by_role("button", name="Chats", exact=True).click()
        page.wait_for_selector("body.side-open #chats a")
        page.wait_for_timeout(300)
        assert page.locator("#side").bounding_box()["x"] == 0
        assert overflow() == [0, 0, 0, 0]
        page.keyboard.press("Escape")
        page.wait_for_timeout(300)
        assert not page.locator("#side").is_visible()
    page.get_by_role("button", name="Settings").click()
    assert page.locator("#settings").evaluate("n => n.scrollWidth - n.clientWidth") <= 0
    box = page.locator("#settings").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


def test_motion_is_reduced_where_it_is_wanted(windows, shop):
    window = windows(shop, reduced_motion="reduce")
    page = window.open()
    assert page.evaluate(
        "getComputedStyle(document.querySelector('#side')).transitionDuration"
    ) in ("0s", "")
    window.endless()
    window.say(STORY)
    page.wait_for_selector(".writing .prose .block")
    names = page.evaluate("document.getAnimations().length")
    page.get_by_role("button", name="Stop").click()
    window.answered()
    assert names == 0


def test_it_can_be_installed(window):
    session = window.context.new_cdp_session(window.page)
    manifest = session.send("Page.getAppManifest")
    assert manifest["errors"] == []
    assert json.loads(manifest["data"])["display"] == "standalone"
    reasons = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [reason["errorId"] for reason in reasons if reason["errorId"] != "in-incognito"] == []


# Pictures, for people to look at

GOLDEN = (
    "Sure. The *golden ratio* is the number $\\varphi$ for which\n\n"
    "$$\n\\varphi = \\frac{1 + \\sqrt{5}}{2} \\approx 1.618\n$$\n\n"
    "It is the limit of the ratios of **Fibonacci numbers**:\n\n"
    "```python\ndef fibonacci(count: int) -> list[int]:\n    numbers = [1, 1]\n"
    "    while len(numbers) < count:\n        numbers.append(numbers[-1] + numbers[-2])\n"
    "    return numbers\n```\n\n"
    "| n | ratio |\n|--:|--:|\n| 2 | 2.000 |\n| 5 | 1.600 |\n| 10 | 1.618 |\n\n"
    "1. Start with 1 and 1.\n2. Add the last two.\n3. Divide neighbours.\n\n"
    "> It is found in [many places](https://en.wikipedia.org/wiki/Golden_ratio), some by mistake."
)


@pytest.fixture(scope="module")
def gallery(smollm2, tmp_path_factory):
    """A server with chats to look at; the last one's number."""
    server = start(tmp_path_factory.mktemp("gallery") / "home", smollm2)
    for title in ("A letter to the landlord", "Sourdough, step by step", "Regular expressions"):
        keep(server, title, "…")
    number = keep(
        server, "Explain the golden ratio, with a bit of code.", GOLDEN, title="Golden ratio"
    )
    yield server, number
    end(server)


@pytest.mark.parametrize(
    ("name", "size", "scheme"),
    [
        ("desktop-light", (1280, 800), "light"),
        ("desktop-dark", (1280, 800), "dark"),
        ("phone-light", (390, 844), "light"),
    ],
)
def test_pictures(windows, gallery, pictures, name, size, scheme):
    server, golden = gallery
    phone = size[0] < 500
    window = windows(
        server,
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        has_touch=phone,
        is_mobile=phone,
        device_scale_factor=2 if phone else 1,
    )

    def picture(what):
        page.screenshot(path=pictures / f"{name}-{what}.png")

    page = window.open()
    page.wait_for_selector("#chats li", state="attached")
    picture("empty")
    page.goto(f"{server.url}/#{golden}")
    page.wait_for_selector("figure")
    page.evaluate("document.querySelector('#scroll').scrollTop = 0")
    page.wait_for_timeout(100)
    picture("markdown")
    if phone:
        page.get_by_role("button", name="Chats", exact=True).click()
        page.wait_for_timeout(400)
        picture("list")
        page.get_by_role("button", name="Close the list of chats").click()
    page.get_by_role("button", name="Settings").click()
    page.wait_for_timeout(100)
    picture("settings")
    page.keyboard.press("Escape")
    page.goto(f"{server.url}/#")
    window.endless()
    page.get_by_label("Message", exact=True).fill(STORY)
    page.get_by_role("button", name="Send").click()
    page.wait_for_selector(".writing .prose .block")
    picture("writing")
    page.get_by_role("button", name="Stop").click()
    window.answered()
    picture("answer")
    assert len(list(pictures.glob(f"{name}-*.png"))) >= 5
