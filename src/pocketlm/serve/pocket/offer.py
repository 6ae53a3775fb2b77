"""Which models a browser can have, and what `models.json` says of them.

It knows what the browser's engine runs: what pocketlm runs, from one GGUF file, within the memory
that 32-bit WebAssembly has. It knows no HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pocketlm.errors import UnsupportedError
from pocketlm.formats.gguf_checkpoint import part_paths
from pocketlm.formats.open import open_checkpoint
from pocketlm.models import build
from pocketlm.store.catalogue import Catalogue
from pocketlm.store.pieces import Pieces

#: 32-bit WebAssembly addresses 4 GiB, some of which are not for weights: no larger file fits.
MOST_BYTES = (4 << 30) - (64 << 20)


def checked(path: Path) -> Path:
    """The one file of the model at `path`, if a browser can run it.

    Raises UnsupportedError, which says why it cannot, or ModelFileError for a damaged one.
    """
    with open_checkpoint(path) as checkpoint:
        file = checkpoint.path
        if checkpoint.kind != "gguf" or part_paths(file) != [file]:
            raise UnsupportedError(
                f"{path}: a browser takes one GGUF file; `pocketlm quantize` makes one"
            )
        build(checkpoint.config, checkpoint.tensors)
    if (size := file.stat().st_size) > MOST_BYTES:
        raise UnsupportedError(
            f"{path} has {size:,} bytes, and a browser can address {MOST_BYTES:,};"
            " `pocketlm quantize` makes a smaller one"
        )
    return file


def slug(name: str, taken: Collection[str] = ()) -> str:
    """The name as it may stand in an address and be a file's anywhere; none of those taken."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:100] or "model"
    return next(
        each for each in (plain, *(f"{plain}-{n}" for n in range(2, 10_000))) if each not in taken
    )


def title_of(name: str) -> str:
    """What people read: the catalogue's title without what it says of size, or the name."""
    entry = Catalogue.read().get(name)
    return name if entry is None else entry.title.partition(" (")[0]


def about(name: str, title: str, pieces: Pieces, *, split: bool = False) -> dict[str, Any]:
    """A model's entry in `models.json`. Its file is seen from there.

    Where it is `split`, each piece is a file of its own: the file's name and a number, as
    `piece_name` gives it.
    """
    entry: dict[str, Any] = {
        "name": name,
        "title": title,
        "file": f"models/{name}.gguf",
        "bytes": pieces.bytes,
        "sha256": pieces.sha256,
        "piece_bytes": pieces.piece_bytes,
        "pieces": list(pieces.pieces),
    }
    return entry | {"split": True} if split else entry


def piece_name(name: str, index: int) -> str:
    """The file of a piece in a folder where models are split."""
    return f"{name}.gguf.{index:05d}"
