"""The models of a server: loaded when they are asked for, unloaded when memory or time says so.

It knows names, memory and times. It does not know what is asked of a model.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Container, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pocketlm.api import Adapter, Model, load
from pocketlm.chat.presets import Preset, Presets
from pocketlm.errors import Error, StoreError
from pocketlm.serve.errors import ApiError, OverloadedError
from pocketlm.serve.settings import Adapted, Settings
from pocketlm.serve.worker import Worker
from pocketlm.store import DEFAULT_MODEL, Store
from pocketlm.store.store import Entry

#: How long a listing of the store is believed, in seconds.
_FRESH = 2.0
_FOREVER = float("inf")


@dataclass
class _Held:
    """An adapter in memory, and which state its files were in. `users` are requests with it."""

    adapter: Adapter
    files: tuple[tuple[int, int], ...]
    users: int = 0
    used: float = field(default_factory=time.time)


@dataclass
class Loaded:
    """A model in memory, and its adapters by name. `users` are requests that it is answering."""

    name: str
    path: Path
    model: Model
    worker: Worker
    keep: float
    users: int = 0
    used: float = field(default_factory=time.time)
    adapters: dict[str, _Held] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of weights, adapters and cache, as they are now."""
        runtime = self.model.engine.runtime
        cache = runtime.cache.blocks_in_use * runtime.cache.block_bytes
        adapters = sum(held.adapter.nbytes for held in self.adapters.values())
        return runtime.weight_bytes + adapters + cache

    def adapter(self, name: str | None) -> Adapter | None:
        """What is added to the model where it is lent by that name, if anything is."""
        held = None if name is None else self.adapters.get(untagged(name, self.adapters))
        return None if held is None else held.adapter

    @property
    def expires(self) -> float:
        """When it is unloaded, in seconds since 1970, if nobody uses it before."""
        return self.used + self.keep


def untagged(name: str, known: Container[str]) -> str:
    """The name without the tag that programs add which were written for Ollama, if it is known."""
    return name if name in known else name.removesuffix(":latest")


class Pool:
    """Lends models by name. For one event loop."""

    def __init__(self, settings: Settings, store: Store | None = None) -> None:
        """Load nothing yet."""
        self._settings = settings
        self._store = store or Store(offline=True)
        self.home = self._store.home
        self._presets = Presets(self.home / "presets")
        self._loaded: dict[str, Loaded] = {}
        self._changing = asyncio.Lock()  # models are loaded and unloaded one at a time
        self._listing: tuple[float, dict[str, Path]] = (-_FRESH, {})

    @property
    def loaded(self) -> list[Loaded]:
        """The models in memory."""
        return list(self._loaded.values())

    @property
    def default(self) -> str:
        """The model that answers where none is named."""
        return next(iter(self._settings.models), DEFAULT_MODEL)

    async def known(self) -> dict[str, Path]:
        """Every model that may be named, and where it lies: the store's, and those of `serve`."""
        when, names = self._listing
        if time.monotonic() - when > _FRESH:
            names = await asyncio.to_thread(self._list)
            self._listing = (time.monotonic(), names)
        return names

    async def own(self) -> dict[str, Path]:
        """The models that `serve` was told of and those of pocketlm's own store, by their names."""
        listed = await asyncio.to_thread(self._store.list)
        store = {entry.name: entry.path for entry in listed if entry.where == "pocketlm"}
        return {**self._settings.models, **store}

    @asynccontextmanager
    async def lend(self, name: str | None, keep: float | None = None) -> AsyncIterator[Loaded]:
        """The model of that name, loaded, and kept so while it is lent.

        `keep` is for how many seconds after. Raises ApiError 404 for an unknown name, 503 when it
        cannot be loaded now.
        """
        name, path = await self.find(name)
        adapted = self._settings.adapted.get(name)
        model = name if adapted is None else adapted.model
        while (found := self._loaded.get(model)) is None:
            async with self._changing:
                if model not in self._loaded:
                    self._loaded[model] = await self._load(model, path)
        found.users += 1
        if keep is not None:
            found.keep = keep
        held = None
        try:
            if adapted is not None:
                held = await self._adapt(found, name, adapted)
                held.users += 1
            yield found
        finally:
            for lent in (found, held):
                if lent is not None:
                    lent.users -= 1
                    lent.used = time.time()

    async def preset(self, name: str | None) -> Preset | None:
        """The preset of that name, if it is no model's. Raises ApiError for a damaged one."""
        if name is None or name in await self.known():
            return None
        try:
            return await asyncio.to_thread(self._presets.get, name.removesuffix(":latest"))
        except StoreError as error:
            raise ApiError(503, str(error), code="model_not_loaded") from None

    async def names(self) -> list[str]:
        """All names that a request may give: models and presets."""
        presets = await asyncio.to_thread(self._presets.names)
        return [*dict.fromkeys([*await self.known(), *presets])]

    async def find(self, name: str | None) -> tuple[str, Path]:
        """A model's name as it is listed, and where it lies. Raises ApiError 404."""
        known = await self.known()
        if name is None:
            name = self.default
        if (listed := untagged(name, known)) in known:
            return listed, known[listed]
        raise ApiError(
            404,
            f"the model {name[:100]!r} is not on this machine; /v1/models lists those that are",
            code="model_not_found",
            param="model",
        )

    def parent(self, name: str) -> str | None:
        """The model that a listed name is another one of, with adapters."""
        adapted = self._settings.adapted.get(name)
        return None if adapted is None else adapted.model

    async def lasting(self, name: str) -> str:
        """The name by which other programs find a served model: its own or, for a file, its path.

        Raises ApiError 404.
        """
        name, path = await self.find(name)
        own = await asyncio.to_thread(self._store.find, name)
        return name if own is not None or name not in self._settings.models else str(path)

    async def unload(self, name: str) -> bool:
        """Take a model out of memory, if nobody uses it. Whether that was so.

        Of a model with adapters, those alone.
        """
        async with self._changing:
            if (model := self.parent(name)) is not None:
                adapters = self._loaded[model].adapters if model in self._loaded else {}
                if name not in adapters or adapters[name].users:
                    return False
                del adapters[name]
                return True
            found = self._loaded.get(name)
            if found is None or found.users:
                return False
            await self._close(found)
            return True

    async def sweep(self) -> None:
        """Unload what has not been used for its time, or has grown too large; again and again."""
        while True:
            await asyncio.sleep(1)
            now = time.time()
            for found in self.loaded:
                if not found.users and found.expires <= now:
                    await self.unload(found.name)
            async with self._changing:
                while self._nbytes > self._settings.memory and await self._shrink():
                    pass

    async def halt(self, seconds: float) -> None:
        """Let answers go on for so long, then end them with an error."""
        await asyncio.sleep(seconds)
        for found in self.loaded:
            await asyncio.to_thread(found.worker.close)

    async def close(self) -> None:
        """Unload all; requests that are under way end with an error."""
        async with self._changing:
            for found in self.loaded:
                await self._close(found)

    def _list(self) -> dict[str, Path]:
        models = {**{e.name: e.path for e in self._store.list()}, **self._settings.models}
        adapted = {name: models[its.model] for name, its in self._settings.adapted.items()}
        return {**models, **adapted}

    async def _load(self, name: str, path: Path) -> Loaded:
        size = Entry(name, path, "").size
        await self._make_room(size)
        try:
            model = await asyncio.to_thread(load, path, **self._settings.load)
        except Error as error:
            raise ApiError(503, f"cannot load {name}: {error}", code="model_not_loaded") from None
        worker = Worker(model.engine, self._settings.parallel, self._settings.queue)
        keep = _FOREVER if name in self._settings.models else self._settings.idle
        return Loaded(name, path, model, worker, keep)

    async def _adapt(self, found: Loaded, name: str, adapted: Adapted) -> _Held:
        """Have a lent model's adapters of that name in memory, as their files are now."""
        paths = [path for path, _ in adapted.loras]
        files, size = await asyncio.to_thread(_state, paths)
        held = found.adapters.get(name)
        if held is not None and held.files == files:
            return held
        async with self._changing:
            held = found.adapters.get(name)
            if held is not None and held.files == files:  # another request was quicker
                return held
            await self._make_room(size)
            try:
                adapter = await asyncio.to_thread(found.model.adapter, adapted.loras)
            except Error as error:
                raise ApiError(
                    503, f"cannot load {name}: {error}", code="model_not_loaded"
                ) from None
            found.adapters[name] = _Held(adapter, files)
            return found.adapters[name]

    async def _make_room(self, size: int) -> None:
        """Unload what was not used for longest, until `size` bytes more fit."""
        if size > self._settings.memory:
            raise ApiError(
                503,
                f"the model has {size:,} bytes; the memory budget is {self._settings.memory:,}",
                code="model_not_loaded",
            )
        while self._nbytes + size > self._settings.memory:
            if not await self._shrink():
                raise OverloadedError(
                    "there is no memory for this model while others are in use", status=503
                )

    async def _shrink(self) -> bool:
        """Unload what nobody uses and was not used for longest, adapters first. Whether any was."""
        adapters = [
            (held.used, name, found)
            for found in self.loaded
            for name, held in found.adapters.items()
            if not held.users
        ]
        if adapters:
            _, name, found = min(adapters, key=lambda each: each[0])
            del found.adapters[name]
            return True
        if (unused := self._unused) is not None:
            await self._close(unused)
            return True
        return False

    @property
    def _nbytes(self) -> int:
        return sum(found.nbytes for found in self.loaded)

    @property
    def _unused(self) -> Loaded | None:
        """The model that was not used for longest, of those that nobody uses."""
        unused = [found for found in self.loaded if not found.users]
        return min(unused, key=lambda found: found.used, default=None)

    async def _close(self, found: Loaded) -> None:
        del self._loaded[found.name]

        def close() -> None:
            found.worker.close()
            found.model.close()

        await asyncio.to_thread(close)


def _state(paths: Sequence[Path]) -> tuple[tuple[tuple[int, int], ...], int]:
    """Sizes and times of change of adapters' files, and all their bytes; of none where they are
    gone, which opening them will tell."""
    about = []
    for path in paths:
        with suppress(OSError):
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            about += [file.stat() for file in files if file.is_file()]
    return tuple((each.st_size, each.st_mtime_ns) for each in about), sum(
        each.st_size for each in about
    )
