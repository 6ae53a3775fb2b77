"""Installed adapters: of which model, for which language.

An adapter is a folder under `POCKETLM_HOME/adapters` with an `adapter.json` that says what it is
of. It is made beside its place and renamed, so it is there whole or not at all. A model is known by
an identity that whoever installs computes; nothing here looks inside a model or an adapter.
"""

import json
import re
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from pocketlm.errors import StoreError
from pocketlm.formats.output import new_folder
from pocketlm.store.names import is_file_name

_MANIFEST = "adapter.json"
#: peft's two files, which are all that is read of its folder.
_FILES = ("adapter_config.json", "adapter_model.safetensors")
#: An adapter in one file.
_GGUF = "adapter.gguf"
_LANGUAGE = re.compile("[a-z]{2,3}")


@dataclass(frozen=True)
class Installed:
    """An adapter that is here: of the model with the identity `model`, which was called `base`."""

    name: str
    language: str
    base: str
    model: str
    installed: float
    """Seconds since 1970."""
    path: Path
    """What the engine opens."""

    @property
    def size(self) -> int:
        """Bytes on disk."""
        files = [self.path] if self.path.is_file() else self.path.iterdir()
        return sum(each.stat().st_size for each in files if each.is_file())


class Adapters:
    """Adapters by name, by model and by language."""

    def __init__(self, home: Path) -> None:
        """Those of a store's home."""
        self._folder = home / "adapters"

    def list(self) -> list[Installed]:
        """All that are whole, by name."""
        found = []
        for manifest in sorted(self._folder.glob(f"*/{_MANIFEST}")):
            each = _read(manifest)
            if each is not None:
                found.append(each)
        return found

    def of(self, model: str) -> dict[str, Installed]:
        """Those of the model with that identity, by language; of two the one installed last."""
        mine = [each for each in self.list() if each.model == model]
        return {each.language: each for each in sorted(mine, key=lambda each: each.installed)}

    def install(
        self, source: Path, *, language: str, base: str, model: str, name: str | None = None
    ) -> Installed:
        """Copy peft's folder, or a GGUF file, in; `name` is BASE-LANGUAGE where none is given.

        One of the same name goes, if it is of the same model and language. Raises StoreError where
        it is not, or a name may not be; OutputError where it cannot be written.
        """
        if _LANGUAGE.fullmatch(language) is None:
            raise StoreError(f"{language!r} is no language; write its ISO 639 code, as de")
        stem = re.sub(r"[^A-Za-z0-9._+-]+", "-", Path(base).name.removesuffix(".gguf"))
        name = name or f"{stem}-{language}"
        if not is_file_name(name):
            raise StoreError(f"{name!r} cannot name an adapter; give it another --name")
        before = next((each for each in self.list() if each.name == name), None)
        if before is not None and (before.model, before.language) != (model, language):
            raise StoreError(
                f"there is an adapter {name!r} already, for {before.language} of another model; "
                "give this one another --name"
            )
        files = {_GGUF: source} if source.is_file() else {each: source / each for each in _FILES}
        self._folder.mkdir(parents=True, exist_ok=True)
        place = self._folder / name
        made = Installed(name, language, base, model, time.time(), place)
        with new_folder(place, sum(path.stat().st_size for path in files.values())) as folder:
            for target, path in files.items():
                shutil.copyfile(path, folder / target)
            values = {key: value for key, value in asdict(made).items() if key != "path"}
            (folder / _MANIFEST).write_text(json.dumps(values, indent=1) + "\n", "utf-8")
        return next(each for each in self.list() if each.name == name)

    def remove(self, name: str) -> Path:
        """Delete an adapter; returns where it was. Raises StoreError where there is none."""
        place = self._folder / name
        if not is_file_name(name) or not (place / _MANIFEST).is_file():
            raise StoreError(f"there is no adapter {name!r} to remove; see `pocketlm list`")
        shutil.rmtree(place)
        return place


def _read(manifest: Path) -> Installed | None:
    """What a folder says it holds; None where it says nothing that can be used."""
    folder = manifest.parent
    try:
        values = json.loads(manifest.read_bytes())
        whole = folder / _GGUF
        path = whole if whole.is_file() else folder
        found = Installed(**values, path=path)
        texts = (found.name, found.language, found.base, found.model)
        sound = (
            all(isinstance(each, str) for each in texts)
            and found.name == folder.name
            and _LANGUAGE.fullmatch(found.language) is not None
            and isinstance(found.installed, int | float)
            and (whole.is_file() or all((folder / each).is_file() for each in _FILES))
        )
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return found if sound else None
