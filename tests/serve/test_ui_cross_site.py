"""Other sites in a real browser: whatever they try, nothing is read and nothing is changed.

Sites by origin, times ways to reach a server. In each case the history is compared before and
after, what the site got to see is searched for a secret, and the server must not have begun an
answer.
"""

import re
import sqlite3
import time

import pytest
from browsing import keep, trap
from servers import end, start

pytestmark = pytest.mark.slow

SECRET = "the treasure lies under the old oak"


@pytest.fixture(scope="module")
def server(smollm2, tmp_path_factory):
    running = start(tmp_path_factory.mktemp("cross") / "home", smollm2)
    keep(running, "Where?", SECRET, title=SECRET)
    yield running
    end(running)


@pytest.fixture(scope="module")
def site():
    with trap() as found:
        found.pages["/frame"] = (
            "<!doctype html><title>a site</title><iframe id=f sandbox='allow-scripts allow-forms'"
            " srcdoc='<title>inner</title>'></iframe>"
        )
        yield found


@pytest.fixture(scope="module")
def window(chromium, server):
    context = chromium.new_context()
    context.set_default_timeout(10_000)
    port = server.url.rpartition(":")[2]

    # A site whose name pointed elsewhere when its page was loaded, and now points here.
    context.route(
        f"http://rebind.example:{port}/attack",
        lambda route: route.fulfill(content_type="text/html", body="<title>a site</title>"),
    )
    page = context.new_page()
    yield page
    context.close()


def at_origin(window, site, server, origin):
    """The frame of a page of that origin, opened once for many cases."""
    port = server.url.rpartition(":")[2]
    address = {
        "another site": f"http://evil.example:{site.port}/",
        "another port": f"http://127.0.0.1:{site.port}/",
        "localhost": f"http://localhost:{site.port}/",
        "a name that was rebound": f"http://rebind.example:{port}/attack",
        "a sandboxed frame": f"http://evil.example:{site.port}/frame",
        "a data address": "data:text/html,<title>a site</title>",
        "a blank page": "about:blank",
    }[origin]
    if window.url != address:
        window.goto(address)
    if origin == "a sandboxed frame":
        return window.query_selector("#f").content_frame()
    return window.main_frame


ORIGINS = [
    *("another site", "another port", "localhost", "a name that was rebound"),
    *("a sandboxed frame", "a data address", "a blank page"),
]
TARGETS = {
    "127.0.0.1": "http://127.0.0.1:{port}",
    "localhost": "http://localhost:{port}",
    "0.0.0.0": "http://0.0.0.0:{port}",
    "::1": "http://[::1]:{port}",
    "rebound": "http://rebind.example:{port}",
}

FORM = """async (at) => {
        const name = 'into' + Math.random(); const frame = document.createElement('iframe');
        frame.name = name; document.body.append(frame); const form = document.createElement('form');
        form.method = 'post'; form.enctype = 'KIND'; form.action = at + '/ui/chats/1';
        form.target = name; const input = document.createElement('input');
        input.name = '{"title":"changed","x":"'; input.value = '"}'; form.append(input);
        document.body.append(form); form.submit(); await new Promise((r) => setTimeout(r, 120));
        try { return frame.contentDocument.body.innerText } catch { return '' } }"""
FRAME = """async (at) => {
        const frame = document.createElement('iframe'); frame.src = at + 'PATH';
        const loaded = new Promise((r) => { frame.onload = r; setTimeout(r, 1000) });
        document.body.append(frame); await loaded;
        try { return frame.contentDocument.documentElement.outerHTML } catch { return '' } }"""
TAG = """async (at) => {
        const node = document.createElement('TAG'); node.rel = 'stylesheet';
        const over = new Promise((r) => { node.onload = () => r('loaded');
            node.onerror = () => r(''); setTimeout(() => r(''), 1000) });
        node[node.tagName === 'LINK' ? 'href' : 'src'] = at + 'PATH';
        document.body.append(node); return over }"""
#: Ways to reach the server. Each is what a site's script does, and gives what it got to see.
WAYS = {
    "fetch": "async (at) => (await fetch(at + '/ui/chats')).text()",
    "fetch a chat": "async (at) => (await fetch(at + '/ui/chats/1')).text()",
    "fetch with credentials": (
        "async (at) => (await fetch(at + '/ui/chats', {credentials: 'include'})).text()"
    ),
    "fetch without cors": (
        "async (at) => (await fetch(at + '/ui/chats', {mode: 'no-cors'})).text()"
    ),
    "post text": """async (at) => (await fetch(at + '/ui/answer', {method: 'POST', mode: 'no-cors',
        headers: {'Content-Type': 'text/plain'}, body: BODY})).text()""",
    "post json": """async (at) => (await fetch(at + '/ui/answer', {method: 'POST',
        headers: {'Content-Type': 'application/json'}, body: BODY})).text()""",
    "post json without cors": """async (at) => (await fetch(at + '/ui/chats/1', {method: 'POST',
        mode: 'no-cors', headers: {'Content-Type': 'application/json'}, body: TITLE})).text()""",
    "rename by text": """async (at) => (await fetch(at + '/ui/chats/1', {method: 'POST',
        mode: 'no-cors', body: TITLE})).text()""",
    "delete": """async (at) => (await fetch(at + '/ui/chats/1', {method: 'DELETE',
        headers: {'Content-Type': 'application/json'}})).text()""",
    "beacon": """async (at) => { navigator.sendBeacon(at + '/ui/chats/1', TITLE);
        await new Promise((r) => setTimeout(r, 100)); return '' }""",
    "request of the old kind": """(at) => new Promise((resolve) => { const x = new XMLHttpRequest();
        x.onload = x.onerror = () => resolve(x.responseText); x.open('GET', at + '/ui/chats/1');
        x.send() })""",
    "form": FORM.replace("KIND", "application/x-www-form-urlencoded"),
    "text form": FORM.replace("KIND", "text/plain"),
    "form with files": FORM.replace("KIND", "multipart/form-data"),
    "frame of the page": FRAME.replace("PATH", "/"),
    "frame of a chat": FRAME.replace("PATH", "/ui/chats/1"),
    "script": TAG.replace("TAG", "script").replace("PATH", "/ui/chats/1"),
    "script of the page": TAG.replace("TAG", "script").replace("PATH", "/page/theme.js"),
    "image": TAG.replace("TAG", "img").replace("PATH", "/page/icon.svg"),
    "style sheet": TAG.replace("TAG", "link").replace("PATH", "/page/style.css"),
    "module": """async (at) => { try { await import(at + '/page/dom.js'); return 'loaded' }
        catch { return '' } }""",
    "events": """(at) => new Promise((resolve) => { const s = new EventSource(at + '/ui/chats');
        s.onmessage = (e) => resolve(e.data); s.onerror = () => { s.close(); resolve('') } })""",
    "socket": """(at) => new Promise((resolve) => {
        const s = new WebSocket(at.replace('http', 'ws') + '/ui/chats');
        s.onopen = () => resolve('loaded'); s.onerror = () => resolve('') })""",
    "window": """async (at) => { const w = window.open(at + '/');
        await new Promise((r) => setTimeout(r, 200));
        try { return w.document.documentElement.outerHTML }
        catch { return '' } finally { w?.close() } }""",
}
BODY = '{"answer":"0123456789abcdef0123456789abcdef","text":"Hi"}'


def history(server):
    with sqlite3.connect(server.home / "history.db") as database:
        chats = database.execute("SELECT id, title, revision FROM conversations").fetchall()
        said = database.execute("SELECT conversation, role, content FROM messages").fetchall()
    return chats, said


def answers(server):
    """How many requests to the page's own paths got behind the guard."""
    text = server.http.get("/metrics").text
    counts = re.findall(r'^pocketlm_requests_total\{path="/ui/.*status="200"\} (\S+)$', text, re.M)
    return sum(map(float, counts))


def settle(server):
    """Wait until nothing more comes in for a second."""
    quiet, last = time.monotonic(), answers(server)
    while time.monotonic() < quiet + 1:
        time.sleep(0.1)
        if answers(server) != last:
            quiet, last = time.monotonic(), answers(server)


def tried(frame, way, target):
    script = WAYS[way].replace("BODY", repr(BODY)).replace("TITLE", repr('{"title":"changed"}'))
    safe = (
        f"async (at) => {{ try {{ return await ({script})(at) }} catch (e) {{ return '' + e }} }}"
    )
    return str(frame.evaluate(safe, target))


#: These differ by the name that the server is called by; the others do not.
NAMED = (
    "fetch",
    "fetch without cors",
    "post json",
    "rename by text",
    "text form",
    "script",
    "image",
)
CASES = [
    *[(origin, way, "127.0.0.1") for origin in ORIGINS for way in WAYS],
    *[
        ("another site", way, t)
        for t in ("localhost", "0.0.0.0", "::1", "rebound")
        for way in NAMED
    ],
    *[("a name that was rebound", way, "rebound") for way in WAYS],
]


@pytest.mark.parametrize(("origin", "way", "target"), CASES)
def test_nothing_is_read_and_nothing_is_changed(window, site, server, origin, way, target):
    before, begun = history(server), answers(server)
    frame = at_origin(window, site, server, origin)
    port = server.url.rpartition(":")[2]
    seen = tried(frame, way, TARGETS[target].format(port=port))
    assert SECRET not in seen
    assert seen != "loaded"
    assert "<main" not in seen
    assert history(server) == before
    if way == "window":  # of its own: there the page is the user's, and asks for its chats
        settle(server)
    else:
        assert answers(server) == begun


def test_the_page_itself_may_do_all_that(window, server):
    """The same ways work where they may: what is tested above could fail."""
    window.goto(server.url)
    at = server.url
    frame = window.main_frame
    for way in ("fetch", "fetch a chat", "request of the old kind"):
        assert SECRET in tried(frame, way, at)
    for way in ("image", "style sheet"):
        assert tried(frame, way, at) == "loaded"
    begun = answers(server)
    assert "event: done" in tried(frame, "post json", at)
    assert answers(server) > begun
    before = history(server)
    assert "deleted" in tried(frame, "delete", at)
    assert history(server) != before


def test_a_link_from_elsewhere_opens_the_page_and_shows_nothing_to_its_site(window, site, server):
    """The one thing that others may: lead here."""
    site.pages["/link"] = f"<!doctype html><a href='{server.url}/'>here</a>"
    window.goto(f"http://evil.example:{site.port}/link")
    window.click("a")
    window.wait_for_selector("#prompt")
    assert window.evaluate("window.opener") is None
