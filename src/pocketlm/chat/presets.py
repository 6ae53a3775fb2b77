"""Presets: a name for a model, a system prompt and a way of sampling, each in a file of its own.

A preset is a TOML file that can be shared; its name is the file's.

    model = "smollm2"
    system = "You are a pirate."

    [sampling]
    temperature = 0.7

Knows these files alone: whether the model is on this machine is for others to find out.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pocketlm.errors import ParameterError, StoreError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
#: Larger files are no presets.
_MOST_BYTES = 1 << 18
_SAMPLING = {
    *("temperature", "top_k", "top_p", "min_p", "seed", "max_tokens", "stop"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty"),
}


@dataclass(frozen=True)
class Preset:
    """What a name stands for. `sampling` are fields of `SamplingParameters`."""

    model: str
    system: str | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)

    def to_toml(self) -> str:
        """As a file."""
        lines = [f"model = {_toml(self.model)}"]
        if self.system is not None:
            lines.append(f"system = {_toml(self.system)}")
        if self.sampling:
            lines += ["", "[sampling]"]
            lines += [f"{name} = {_toml(value)}" for name, value in self.sampling.items()]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, text: str) -> Preset:
        """Raises ParameterError for what is no preset, naming what is wrong."""
        try:
            content = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ParameterError(f"the preset is not sound TOML: {error}") from None
        for name in content:
            if name not in ("model", "system", "sampling"):
                raise ParameterError(f"the preset has {name[:80]!r}, which no preset has")
        model, system = content.get("model"), content.get("system")
        sampling = content.get("sampling", {})
        if not isinstance(model, str) or not model:
            raise ParameterError("the preset names no model")
        if not isinstance(system, str | None):
            raise ParameterError("the preset's system prompt is no text")
        if not isinstance(sampling, dict) or not _SAMPLING.issuperset(sampling):
            known = ", ".join(sorted(_SAMPLING))
            raise ParameterError(f"the preset's sampling must be a table of: {known}")
        from pocketlm.engine.sampling import SamplingParameters

        SamplingParameters.of(sampling)
        return cls(model, system, sampling)


class Presets:
    """The presets in a folder (None: `presets` in the store's home)."""

    def __init__(self, folder: Path | None = None) -> None:
        """Look at nothing yet."""
        if folder is None:
            from pocketlm.store.store import default_home

            folder = default_home() / "presets"
        self.folder = folder

    def get(self, name: str) -> Preset | None:
        """The preset of that name, or None. Raises StoreError for a file that is none."""
        if not _NAME.fullmatch(name):
            return None
        return read(path) if (path := self._path(name)).is_file() else None

    def names(self) -> list[str]:
        """All names."""
        found = (path.stem for path in self.folder.glob("*.toml"))
        return sorted(name for name in found if _NAME.fullmatch(name))

    def save(self, name: str, preset: Preset) -> Path:
        """Keep a preset, in the place of an earlier one. Raises ParameterError or StoreError."""
        if not _NAME.fullmatch(name):
            raise ParameterError(f"{name[:80]!r} is no name of a preset: letters, digits, - and _")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor, beside = tempfile.mkstemp(".part", ".preset", self.folder)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(preset.to_toml())
            os.replace(beside, self._path(name))
        except OSError as error:
            raise StoreError(f"cannot write {self._path(name)}: {error.strerror}") from error
        return self._path(name)

    def remove(self, name: str) -> None:
        """Forget a preset. Raises StoreError when there is none of that name."""
        if self.get(name) is None:
            raise StoreError(f"there is no preset {name[:80]!r}")
        self._path(name).unlink()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.toml"


def read(path: Path) -> Preset:
    """The preset in a file. Raises StoreError."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise StoreError(f"{path} is no preset: it has more than {_MOST_BYTES:,} bytes")
        return Preset.from_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, ParameterError) as error:
        raise StoreError(f"{path}: {error}") from None


def _toml(value: object) -> str:
    # What JSON writes for texts, numbers and lists of texts is TOML as well.
    return json.dumps(value)
