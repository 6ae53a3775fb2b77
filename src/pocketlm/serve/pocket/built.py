"""The page's files as `make web` builds them: bundled scripts and WebAssembly modules.

They are in wheels of pocketlm, and not in its sources.
"""

from __future__ import annotations

import re
from pathlib import Path

import pocketlm

#: Where they are. The service worker is the last one that is built: it knows all others.
FOLDER = Path(pocketlm.__file__).parent / "web"
_LAST = "sw.js"
_OURS = re.compile(r"[a-z0-9-]+\.(html|js|css|wasm|png|svg|txt|webmanifest)")

MISSING = (
    "the page for browsers is not in this copy of pocketlm: wheels have it, and in a checkout"
    " `make web` builds it (it takes Node.js with npm)"
)


def is_built() -> bool:
    """Whether the page can be served."""
    return (FOLDER / _LAST).is_file()


def files() -> list[Path]:
    """Every file of the page."""
    return sorted(path for path in FOLDER.iterdir() if is_ours(path.name))


def is_ours(name: str) -> bool:
    """Whether the page has a file of that name, or had in another version."""
    return _OURS.fullmatch(name) is not None
