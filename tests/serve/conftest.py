"""Servers, with the real small model."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import Running, end, start


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
