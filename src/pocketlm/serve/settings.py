"""How a server is set up, and the limits that it keeps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEFAULT_PORT = 8000


def _memory() -> int:
    """Three quarters of the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4 * 3


@dataclass(frozen=True)
class Adapted:
    """A model that is served under another name with adapters, each (path, scale), added to it."""

    model: str
    loras: Sequence[tuple[Path, float]]


@dataclass(frozen=True)
class Settings:
    """Sizes are in bytes, times in seconds."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    #: What clients must know, or None for anybody who reaches the port.
    api_key: str | None = field(default=None, repr=False)
    #: Other web pages' origins that may use the server (`http://localhost:3000`).
    origins: frozenset[str] = frozenset()
    #: Other names by which the server may be called (behind a proxy).
    hosts: frozenset[str] = frozenset()
    #: Models by name that stay loaded once they are; the first answers where none is named.
    models: Mapping[str, Path] = field(default_factory=dict)
    #: Those models by the names that they have with adapters.
    adapted: Mapping[str, Adapted] = field(default_factory=dict)
    #: For `pocketlm.load`.
    load: Mapping[str, Any] = field(default_factory=dict)
    #: Whether texts are embedded by wordllama where no other model is named.
    wordllama: bool = False
    #: What the page may search, by its names (see `assistant/sources.py`), and by which server the
    #: web; None leaves that to the environment.
    search: Sequence[str] = ()
    searxng: str | None = None
    #: Tools by the names of `assistant/tools/builtin.py`, and the folders that they may read.
    tools: Sequence[str] = ()
    folders: Sequence[Path] = ()
    #: Tools with effects that may run without anybody being asked.
    allowed: frozenset[str] = frozenset()
    #: Answers of one model that are written at the same time, and that may wait.
    parallel: int = 4
    queue: int = 64
    #: Weights and caches of all loaded models together.
    memory: int = field(default_factory=_memory)
    #: After so long without a request a model is unloaded.
    idle: float = 1800.0
    #: Longest time for one request.
    timeout: float = 600.0
    #: Largest body of a request.
    body: int = 8 << 20
    #: Most choices (`n`) of one request.
    choices: int = 8
