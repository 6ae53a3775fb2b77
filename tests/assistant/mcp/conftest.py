"""Servers of strangers, configured in a home of their own."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from strangers import HERE, Stranger

from pocketlm.assistant.mcp import client, process
from pocketlm.assistant.mcp.client import Session, event_loop
from pocketlm.assistant.mcp.servers import Server, Servers, made
from pocketlm.assistant.mcp.skills import listed


@pytest.fixture(scope="session")
def loop():
    with event_loop() as found:
        yield found


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("POCKETLM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def stranger(tmp_path) -> Stranger:
    return Stranger(
        tmp_path, made(command=(sys.executable, str(HERE / "stranger.py"), str(tmp_path)))
    )


@contextmanager
def over_http(folder: Path, form: str) -> Iterator[Stranger]:
    """A stranger over HTTP, which answers in one of the two forms that there are."""
    command = [sys.executable, HERE / "stranger.py", folder, "--http", form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        port = int(started.stdout.readline())
        yield Stranger(folder, made(url=f"http://127.0.0.1:{port}/mcp"))
        started.kill()  # it may have been told to wait for ever


@pytest.fixture(scope="session")
def listening(tmp_path_factory) -> Iterator[Stranger]:
    with over_http(tmp_path_factory.mktemp("stranger"), "--events") as found:
        yield found


@pytest.fixture
def remote(listening) -> Stranger:
    """A stranger over HTTP, as if nobody had asked it before."""
    (listening.folder / "calls").unlink(missing_ok=True)
    return listening


@pytest.fixture
def remote_json(tmp_path) -> Iterator[Stranger]:
    with over_http(tmp_path, "--json") as found:
        yield found


@pytest.fixture
def approve(loop, home) -> Callable[..., Server]:
    """Set a stranger up under a name, and approve all that it offers."""

    def run(stranger: Stranger, name: str = "s", **more: object) -> Server:
        server = stranger.server.model_copy(update=more)
        with Session(name, server, loop) as session:
            server = server.approving(
                each.offer for each in listed(session, server) if each.fault is None
            )
        servers = Servers()
        if name in servers.all():
            servers.remove(name)
        servers.add(name, server)
        return server

    return run


@pytest.fixture
def rude(tmp_path) -> Callable[[str], Server]:
    def run(how: str) -> Server:
        return made(command=(sys.executable, str(HERE / "rude.py"), how, str(tmp_path)))

    return run


@pytest.fixture
def patience(monkeypatch) -> Callable[[float], None]:
    """Say how many seconds a server has; it ends quickly in any case."""
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.2)

    def run(seconds: float) -> None:
        for name in ("START", "LIST", "CALL"):
            monkeypatch.setattr(client, f"{name}_SECONDS", seconds)

    return run
