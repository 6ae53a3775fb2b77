"""The catalogue: models by short name, and where each may be had.

A data file beside this module. It knows nothing of how a source is fetched. All sources of an entry
hold the same model; with `file`, the same bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketlm.errors import StoreError
from pocketlm.store.names import HubName, is_file_name, is_sha256, is_short_name, parse_hub_name

#: What `chat` uses when no model is named.
DEFAULT_MODEL = "smollm2"


@dataclass(frozen=True)
class PinnedFile:
    """A file whose every byte is known beforehand."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class HubSource:
    """A repository of the hub, or one file of it; unless pinned, its own digests count."""

    name: HubName
    revision: str = "main"

    def __str__(self) -> str:
        """How messages name it."""
        return f"hub {self.name}"


@dataclass(frozen=True)
class WheelSource:
    """A member of a pinned wheel, found through the package index that pip is configured for."""

    requirement: str
    member: str
    wheel: PinnedFile

    def __str__(self) -> str:
        """How messages name it."""
        return f"package {self.requirement}"


@dataclass(frozen=True)
class UrlSource:
    """A file at an address."""

    url: str

    def __str__(self) -> str:
        """How messages name it."""
        return self.url


Source = HubSource | WheelSource | UrlSource


@dataclass(frozen=True)
class CatalogueEntry:
    """One model of the catalogue. Sources are tried in order."""

    name: str
    title: str
    license: str
    sources: tuple[Source, ...]
    file: PinnedFile | None = None
    aliases: tuple[str, ...] = ()


class Catalogue:
    """Entries by name and alias."""

    def __init__(self, entries: tuple[CatalogueEntry, ...]) -> None:
        """Index the entries. Raises StoreError when two share a name."""
        self.entries = entries
        self._by_name: dict[str, CatalogueEntry] = {}
        for entry in entries:
            for name in (entry.name, *entry.aliases):
                if name in self._by_name:
                    raise StoreError(f"catalogue: {name!r} is there twice")
                self._by_name[name] = entry

    def get(self, name: str) -> CatalogueEntry | None:
        """The entry of that name or alias."""
        return self._by_name.get(name)

    @classmethod
    def read(cls, path: Path | None = None) -> "Catalogue":
        """Read a catalogue (None: the one that comes with pocketlm).

        Raises StoreError when it is unreadable or an entry is unsafe.
        """
        path = path or Path(__file__).with_name("catalogue.json")
        try:
            models = json.loads(path.read_text(encoding="utf-8"))["models"]
            return cls(tuple(_entry(model) for model in models))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"catalogue {path}: {type(error).__name__}: {error}") from error


def _entry(model: Mapping[str, Any]) -> CatalogueEntry:
    names = (model["name"], *model.get("aliases", ()))
    if not all(is_short_name(name) for name in names):
        raise ValueError(f"{names} are not all short names")
    pinned = None
    if "file" in model:
        pinned = _pinned(model["file"])
    sources = tuple(_source(source) for source in model["sources"])
    if pinned is None and not all(isinstance(source, HubSource) for source in sources):
        raise ValueError(f"{names[0]!r}: only a hub source may lack a SHA-256")
    return CatalogueEntry(
        names[0], model["title"], model["license"], sources, pinned, tuple(names[1:])
    )


def _pinned(file: Mapping[str, Any]) -> PinnedFile:
    pinned = PinnedFile(**file)
    if not (is_file_name(pinned.name) and is_sha256(pinned.sha256) and pinned.size > 0):
        raise ValueError(f"{pinned.name!r} needs a plain name, a size and a SHA-256")
    return pinned


def _source(source: Mapping[str, Any]) -> Source:
    fields = dict(source)
    kind = fields.pop("kind")
    if kind == "pypi":
        return WheelSource(**fields | {"wheel": _pinned(fields["wheel"])})
    if kind == "url":
        return UrlSource(**fields)
    if kind != "hub":
        raise ValueError(f"unknown kind of source {kind!r}")
    repository, file = fields.pop("repository"), fields.pop("file", None)
    name = parse_hub_name(repository if file is None else f"{repository}:{file}")
    if name is None:
        raise ValueError(f"{repository!r} is not a hub repository")
    return HubSource(name, **fields)
