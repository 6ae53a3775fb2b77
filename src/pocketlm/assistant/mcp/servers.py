"""The MCP servers that a person set up: how each is reached, and which of its tools they approved.

One file beside the presets holds them all. It may hold keys: only its owner may read it. Starts
nothing, reaches nothing and asks nobody.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pocketlm.assistant.mcp.pins import Offer
from pocketlm.errors import ParameterError, StoreError
from pocketlm.network import is_loopback

#: A short one leaves room for the tools' names: a model sees NAME.tool, of 64 characters at most.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,23}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
#: Larger files are none of ours.
_MOST_BYTES = 1 << 24


class Server(BaseModel):
    """A server: a command that is run, or a URL that is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: The program and its arguments, as they are: no shell reads them.
    command: tuple[str, ...] = ()
    #: What the program finds in its environment, beside the little that every server gets.
    environment: dict[str, str] = Field(default_factory=dict)
    url: str | None = None
    #: What each request to the URL carries, such as a key.
    headers: dict[str, str] = Field(default_factory=dict)
    #: Whether a person takes its word on which of its tools only read: these run without asking.
    trusted: bool = False
    #: The tools that a person approved, by name, as they were described then.
    approved: dict[str, Offer] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.command) == (self.url is not None):
            raise ValueError("say a command or a URL")
        if self.command and self.headers:
            raise ValueError("headers are for a URL")
        if self.url is not None:
            if self.environment:
                raise ValueError("an environment is for a command")
            _check_url(self.url, bool(self.headers))
        for text in (*self.command, *self.environment.values()):
            if "\0" in text:
                raise ValueError("a command and its environment hold no NUL")
        for name in self.environment:
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"{name[:80]!r} is no name of a variable: write KEY=VALUE")
        for name, value in self.headers.items():
            if not _HEADER.fullmatch(name) or not value.isascii() or not value.isprintable():
                raise ValueError(f"{name[:80]!r} is no sound header: write 'Name: value'")
        return self

    def approving(self, offers: Iterable[Offer]) -> Server:
        """The same server with these tools approved as they are described, and no others."""
        return self.model_copy(update={"approved": {offer.name: offer for offer in offers}})

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine: a command, or a URL that leads back to it."""
        return self.url is None or is_loopback(urlsplit(self.url).hostname or "")

    @property
    def place(self) -> str:
        """The command or the URL, for people. Keys are in neither."""
        return self.url if self.url is not None else " ".join(self.command)


class Servers:
    """The servers in a file (None: `mcp.json` in the store's home)."""

    def __init__(self, path: Path | None = None) -> None:
        """Look at nothing yet."""
        if path is None:
            from pocketlm.store.store import default_home

            path = default_home() / "mcp.json"
        self.path = path

    def all(self) -> dict[str, Server]:
        """All servers by name. Raises StoreError for a file that is none of ours."""
        try:
            if self.path.stat().st_size > _MOST_BYTES:
                raise StoreError(f"{self.path} has more than {_MOST_BYTES:,} bytes: it is not ours")
            return _File.model_validate_json(self.path.read_bytes()).servers
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StoreError(f"cannot read {self.path}: {error.strerror}") from None
        except ValidationError as error:
            raise StoreError(f"{self.path} is damaged: {_first(error)}") from None

    def get(self, name: str) -> Server:
        """The server of that name. Raises StoreError where there is none."""
        found = self.all().get(name)
        if found is None:
            raise StoreError(f"there is no MCP server {name[:80]!r}; see `pocketlm mcp list`")
        return found

    def check_free(self, name: str) -> None:
        """Raise ParameterError for what is no name of a server, or has a meaning already."""
        from pocketlm.assistant.tools.builtin import ALL, NAMES

        if not _NAME.fullmatch(name):
            raise ParameterError(
                f"{name[:80]!r} is no name of a server: up to 24 letters, digits, - and _"
            )
        if name in NAMES or name == ALL:
            raise ParameterError(
                f"{name} is what tools of pocketlm's own are called: choose another"
            )
        if name in self.all():
            raise ParameterError(f"there is an MCP server {name} already: remove it first")

    def add(self, name: str, server: Server) -> None:
        """Keep a server under a new name. Raises ParameterError as `check_free`."""
        with self._changing() as servers:
            self.check_free(name)
            servers[name] = server

    def replace(self, name: str, server: Server) -> None:
        """Keep another state of a server. Raises StoreError where there is none of that name."""
        with self._changing() as servers:
            if name not in servers:
                raise StoreError(f"there is no MCP server {name[:80]!r} any more")
            servers[name] = server

    def remove(self, name: str) -> None:
        """Forget a server. Raises StoreError where there is none of that name."""
        self.get(name)
        with self._changing() as servers:
            servers.pop(name, None)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Server]]:
        """The servers, to be changed by one process at a time, and written when the block ends."""
        from filelock import FileLock

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock")):
                servers = self.all()
                yield servers
                content = _File(servers=servers).model_dump(exclude_defaults=True)
                # A file of mkstemp's is for its owner alone.
                descriptor, beside = tempfile.mkstemp(".part", ".mcp", self.path.parent)
                with open(descriptor, "w", encoding="utf-8") as file:
                    json.dump(content, file, indent=1)
                os.replace(beside, self.path)
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error.strerror}") from None


class _File(BaseModel):
    """What the file holds."""

    model_config = ConfigDict(extra="forbid")

    servers: dict[str, Server] = Field(default_factory=dict)


def made(**fields: object) -> Server:
    """A server of these fields. Raises ParameterError for what is none, saying why."""
    try:
        return Server.model_validate(fields)
    except ValidationError as error:
        raise ParameterError(_first(error)) from None


def _check_url(url: str, has_headers: bool) -> None:
    """Raise ValueError for a URL that no server should be asked by."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{url[:200]!r} is no URL") from None
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url:
        raise ValueError(f"{url[:200]!r} is no URL of a server: write https://host/path")
    if parts.username is not None:
        raise ValueError("a URL is shown in lists: give a key by --header instead")
    if parts.scheme == "http" and has_headers and not is_loopback(host):
        raise ValueError("over http:// others could read the headers: use https://")


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, in words."""
    about = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, about["loc"]))
    message = about["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
