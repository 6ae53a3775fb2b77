"""A real Chromium, and pages in it that use the engine's client."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from pocket.web.site import Site, serving

SCRIPTS = Path(__file__).parents[3] / "src/pocketlm/pocket/web"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A real browser without a window. Its driver's event loop must be gone before other modules."""
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
    """A page with `pocket`, and `caught(act)`: what an act gives, or {code, message} of its error."""
    page = context.new_page()
    page.goto(site.url + "/")
    page.evaluate(
        """async () => {
          const { Pocket, ...others } = await import("/web/client.js");
          globalThis.Pocket = Pocket;
          globalThis.others = others;
          globalThis.pocket = new Pocket();
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
