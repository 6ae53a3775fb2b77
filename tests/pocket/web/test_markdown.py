"""What a model writes, as the browser's page shows it: in a real Chromium, from the sources."""

import functools
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

SOURCES = Path(__file__).parents[3] / "src/pocketlm"


@pytest.fixture(scope="module")
def page(chromium: Browser) -> Iterator[Page]:
    """A page with `shown(text)`: what a text becomes, as HTML."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>a page</title>")

        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(SOURCES))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    context = chromium.new_context()
    found = context.new_page()
    found.goto(f"http://127.0.0.1:{server.server_port}/")
    found.evaluate(
        """async () => {
          const { blocksOf, rendered } = await import("/pocket/web/markdown.js");
          globalThis.blocksOf = blocksOf;
          const drawn = (text) => blocksOf(text).map(rendered);
          const inside = (block) => [...block.querySelectorAll("*")].map((node) => node.localName);
          Object.assign(globalThis, {
            shown: (text) => drawn(text).map((block) => block.innerHTML).join(""),
            words: (text) => drawn(text).map((block) => block.textContent).join("\\n"),
            tags: (text) => drawn(text).flatMap(inside),
          });
        }"""
    )
    yield found
    context.close()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("Plain words,\nin two lines.", "<p>Plain words,\nin two lines.</p>"),
        ("One.\n\nTwo.", "<p>One.</p><p>Two.</p>"),
        ("# A *head* #", "<h1>A <em>head</em></h1>"),
        ("**bold** and _slanted_", "<p><strong>bold</strong> and <em>slanted</em></p>"),
        ("***both*** ~~gone~~", "<p><strong><em>both</em></strong> <s>gone</s></p>"),
        ("**a *b***", "<p><strong>a <em>b</em></strong></p>"),
        ("*a **b** c*", "<p><em>a <strong>b</strong> c</em></p>"),
        ("snake_case_name, 2 * 3 * 4", "<p>snake_case_name, 2 * 3 * 4</p>"),
        ("`a*b*` and ``x`y``", "<p><code>a*b*</code> and <code>x`y</code></p>"),
        (r"\*not\* a<b", "<p>*not* a&lt;b</p>"),
        ("a line  \nand another", "<p>a line  <br>and another</p>"),
        ("- a\n- b\n  - c\n- d", "<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>"),
        ("3. x\n4. y", '<ol start="3"><li>x</li><li>y</li></ol>'),
        ("1. a\n   - b\n2. c", "<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>"),
        ("1. a\n\n2. b", "<ol><li>a</li><li>b</li></ol>"),
        ("In\n1999. It was", "<p>In\n1999. It was</p>"),
        ("> a\n> b", "<blockquote><p>a\nb</p></blockquote>"),
        ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
        ("", ""),
    ],
)
def test_what_models_write(page: Page, text: str, html: str) -> None:
    found = page.evaluate("(text) => shown(text).replaceAll(' class=\"\"', '')", text)
    assert found == html


def test_code_and_tables_are_framed(page: Page) -> None:
    code = page.evaluate("shown('```python\\nx = 1 < 2\\n\\ny\\n```\\nafter')")
    assert '<pre tabindex="0"><code class="language-python">x = 1 &lt; 2\n\ny</code></pre>' in code
    assert "<span>python</span>" in code
    assert code.endswith("<p>after</p>")
    open_still = page.evaluate("shown('```\\nx')")  # it grows
    assert '<code class="">x</code>' in open_still
    table = page.evaluate("shown('| a | b |\\n|---|--:|\\n| 1 | `x|y` |\\n| 2 |')")
    assert '<th class="">a</th><th class="right">b</th>' in table
    assert '<td class="">1</td><td class="right"><code>x|y</code></td>' in table
    assert '<td class="">2</td><td class="right"></td>' in table


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)><script>alert(1)</script>",
        "[x](javascript:alert(1)) [y](data:text/html,x) [z](//evil.example) <javascript:alert(1)>",
        "![x](http://evil.example/x.png)",
        '[a"onclick="alert(1)](http://a.example/"onclick="alert(1))',
        '```x" onclick="alert(1)\n<b>\n```',
        "| <img src=x> | b |\n|--|--|\n| <svg onload=alert(1)> | </table> |",
    ],
)
def test_nothing_becomes_more_than_text(page: Page, text: str) -> None:
    html = page.evaluate("(text) => shown(text)", text)
    tags = page.evaluate("(text) => tags(text)", text)
    allowed = "p a span code pre figure figcaption button svg use table thead tbody tr th td div em"
    assert set(tags) <= set(allowed.split())
    assert 'href="javascript' not in html
    assert 'href="data' not in html
    assert "<svg onload" not in html


def test_links_say_where_they_lead(page: Page) -> None:
    html = page.evaluate("shown('See [the sea](https://sea.example/a) or https://b.example/x.')")
    assert html.count('target="_blank" rel="noopener noreferrer"') == 2
    assert '<span class="host"> (sea.example)</span>' in html
    assert 'href="https://b.example/x"' in html


@pytest.mark.parametrize(
    "text",
    [
        "*" * 100_000,
        "*a " * 30_000,
        "**a *b " * 10_000,
        "_a_" * 20_000,
        "`" * 50_000 + "x",
        "`a``b```c" * 6000,
        "[" * 60_000,
        "[a](" * 15_000,
        "![" * 30_000,
        "<" * 60_000,
        "> " * 20_000,
        "- " * 20_000,
        "  " * 40_000 + "#",
        "|" * 50_000 + "\n" + "|-" * 25_000,
        "# " + "#" * 60_000 + " #" * 20_000,
        "1. a\n" * 10_000,
        "a\n> " * 10_000,
        "https://" * 10_000,
        "~~" * 30_000 + "a",
        "\\" * 60_000,
    ],
)
def test_no_text_takes_long(page: Page, text: str) -> None:
    began = time.monotonic()
    words = page.evaluate("(text) => words(text)", text)
    assert time.monotonic() - began < 5
    assert words or not text.strip("-#|>*_ \n")


def test_only_the_last_blocks_change_while_a_text_grows(page: Page) -> None:
    text = "# Head\n\nA paragraph of *words*.\n\n- one\n- two\n\n```js\nlet x;\n```\n\nThe end."
    changed = page.evaluate(
        """(text) => {
          const alike = (one, other) => one.kind === other?.kind && one.source === other.source;
          let most = 0;
          let before = [];
          for (let end = 1; end <= text.length; end++) {
            const now = blocksOf(text.slice(0, end));
            const first = now.findIndex((block, at) => !alike(block, before[at]));
            if (first >= 0) most = Math.max(most, before.length - first);
            before = now;
          }
          return most;
        }""",
        text,
    )
    assert changed <= 1
