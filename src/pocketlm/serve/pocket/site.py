"""The page and a model as a folder that any web server can host, and `README.txt` that says how.

The model lies there in pieces, each a file: so it is fetched and resumed in the same way from hosts
that know no ranges (Python's own server does not) and from those that limit a file's size (25 MiB
at some, 100 MiB at others), which a model of any use exceeds. It costs a copy.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from pocketlm.errors import Error, ModelFileError, OutputError
from pocketlm.formats.output import new_folder
from pocketlm.serve.pocket import built, offer
from pocketlm.store.pieces import pieces_of

_README = Path(__file__).with_name("readme.txt")
#: What a folder may hold that is replaced, beside the page's own files.
_OWN = frozenset({"models", "models.json", "README.txt"})
_PIECE = re.compile(r"[A-Za-z0-9._-]+\.gguf\.\d{5}")

Progress = Callable[[str, int, int], None]


def write(
    path: Path,
    target: Path,
    name: str,
    home: Path,
    *,
    force: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> None:
    """Write the page with the model at `path`, called `name`, into the folder `target`.

    `home` keeps the digests. Raises OutputError where `target` is there and not to be replaced,
    UnsupportedError or ModelFileError for a model that no browser runs, Error without a built page.
    """
    if not built.is_built():
        raise Error(built.MISSING)
    _check_target(target, force)
    file = offer.checked(path)
    pieces = pieces_of(file, home, lambda _, done, total: progress("digests", done, total))
    slug = offer.slug(name)
    page = built.files()
    size = pieces.bytes + sum(each.stat().st_size for each in page)
    entry = offer.about(slug, offer.title_of(name), pieces, split=True)
    with new_folder(target, size) as folder:
        for each in page:
            shutil.copyfile(each, folder / each.name)
        (folder / "models.json").write_text(json.dumps([entry], indent=1), encoding="utf-8")
        readme = _README.read_text(encoding="utf-8").format(
            title=entry["title"], folder=target.name, size=size, piece=pieces.piece_bytes
        )
        (folder / "README.txt").write_text(readme, encoding="utf-8")
        (folder / "models").mkdir()
        with file.open("rb") as source:
            for index in range(len(pieces.pieces)):
                piece = source.read(pieces.piece_bytes)
                (folder / "models" / offer.piece_name(slug, index)).write_bytes(piece)
                progress(target.name, source.tell(), pieces.bytes)
            if source.tell() != pieces.bytes or source.read(1):
                raise ModelFileError(f"{file} changed while it was copied; try again")


def _check_target(target: Path, force: bool) -> None:
    """Raise OutputError unless `target` is free, or is such a folder as may be replaced."""
    if not target.name or not target.parent.is_dir():
        raise OutputError(f"{target}: there is no folder {target.parent}")
    if not target.exists() and not target.is_symlink():
        return
    if not force:
        raise OutputError(f"{target} is there already; replace it with --force")
    if not target.is_dir() or target.is_symlink():
        raise OutputError(f"{target} is not a folder; name another --out")
    models = target / "models"
    strange = [
        entry
        for entry in target.iterdir()
        if entry.name not in _OWN and not (entry.is_file() and built.is_ours(entry.name))
    ]
    if models.is_dir():
        strange += [each for each in models.iterdir() if _PIECE.fullmatch(each.name) is None]
    if strange:
        first = min(strange).relative_to(target)
        raise OutputError(f"{target} holds '{first}', which no export wrote; name another --out")
