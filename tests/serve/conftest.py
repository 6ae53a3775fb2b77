"""Servers, with the real small model."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import MODEL, Running, end, start


@pytest.fixture(scope="session")
def server(smollm2, tmp_path_factory) -> Iterator[Running]:
    """One server for all tests that need nothing special."""
    running = start(tmp_path_factory.mktemp("serve") / "home", smollm2)
    yield running
    end(running)


@pytest.fixture
def serve(tmp_path) -> Iterator[Callable[..., Running]]:
    """Start servers of one's own."""
    started: list[Running] = []

    def run(*arguments: str | Path, **environment: str) -> Running:
        started.append(start(tmp_path / f"home{len(started)}", *arguments, **environment))
        return started[-1]

    yield run
    for running in started:
        end(running)


@pytest.fixture(scope="module")
def chromium():
    """A real browser without a window. Names of sites that do not exist lead to this machine.

    Its driver leaves an event loop running in this thread: it must be gone before other modules.
    """
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium (Debian has it as a package)")
    from playwright.sync_api import sync_playwright

    rules = ", ".join(f"MAP {name} 127.0.0.1" for name in ("evil.example", "rebind.example"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[f"--host-resolver-rules={rules}"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shop(smollm2, tmp_path_factory):
    """A server for this module, with a preset."""
    home = tmp_path_factory.mktemp("page") / "home"
    (home / "presets").mkdir(parents=True)
    (home / "presets" / "pirate.toml").write_text(
        f'model = "{MODEL}"\nsystem = "You are a pirate."\n[sampling]\nmax_tokens = 5\n'
        "temperature = 0\n"
    )
    server = start(home, smollm2)
    yield server
    end(server)


@pytest.fixture
def windows(chromium):
    """Open windows of the page, in which nothing may go wrong."""
    from browsing import Window

    opened: list[Window] = []

    def open_one(server, **options):
        opened.append(Window(chromium, server, **options))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


@pytest.fixture
def window(windows, shop):
    found = windows(shop)
    found.open()
    return found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Where pictures go: CI keeps the folder of that name."""
    folder = os.environ.get("POCKETLM_SCREENSHOTS")
    found = Path(folder) if folder else tmp_path_factory.mktemp("pictures")
    found.mkdir(parents=True, exist_ok=True)
    return found
