"""One file from one address, whole and checked, or not at all.

Bytes go to `NAME.part` beside the destination; a later call goes on where an earlier one stopped
(RFC 9110: Range, with If-Range where the server gave a validator). Only a file of the right size
and digest is renamed into place. It knows no catalogue and no hub.
"""

import contextlib
import errno
import hashlib
import http.client
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO
from urllib.parse import urlsplit

from pocketlm.errors import StoreError

#: Called with (what is being fetched, bytes so far, bytes in all).
Progress = Callable[[str, int, int], None]

_CHUNK = 1 << 20
_TIMEOUT = 30.0
#: Broken connections in a row, without one byte between them, before giving up.
_ATTEMPTS = 5
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Digest:
    """What a file's bytes must hash to: "sha256", or "git" (the SHA-1 of a git blob)."""

    kind: str
    value: str

    def start(self, size: int) -> "hashlib._Hash":
        """A hash object to feed the file's `size` bytes to."""
        if self.kind == "sha256":
            return hashlib.sha256()
        return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def fetch(
    url: str,
    destination: Path,
    *,
    size: int,
    digest: Digest,
    headers: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> None:
    """Bring `url` to `destination`. Raises StoreError; what came so far stays for the next try."""
    part = Part(destination, size, digest)
    try:
        if matches(destination, size, digest):
            return
        resumed = part.open()
        if resumed < size:
            _transfer(url, part, headers or {}, progress)
        try:
            part.finish()
        except StoreError:
            if resumed == 0:
                raise
            # The part was of another version of the file: once more, from the start.
            part.open()
            _transfer(url, part, headers or {}, progress)
            part.finish()
    except OSError as error:
        raise disk_error(error, destination) from error
    finally:
        part.close()


class Part:
    """The growing `NAME.part` beside a destination, hashed as it grows."""

    def __init__(self, destination: Path, size: int, digest: Digest) -> None:
        """Name the files; nothing is opened yet."""
        self.destination = destination
        self.size = size
        self.digest = digest
        self.done = 0
        self._path = destination.with_name(destination.name + ".part")
        self._validator = destination.with_name(destination.name + ".validator")
        self._hash = digest.start(size)
        self._file: BinaryIO | None = None

    def open(self) -> int:
        """Open the part, hash what an earlier call left in it, and return how much that is."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+b")
        if self._file.tell() > self.size:
            self.restart()
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            self._hash.update(chunk)
            self.done += len(chunk)
        return self.done

    def restart(self) -> None:
        """Forget what came so far."""
        assert self._file is not None
        self._file.seek(0)
        self._file.truncate()
        self._hash = self.digest.start(self.size)
        self.done = 0

    def write(self, chunk: bytes) -> None:
        """Append a chunk. Raises StoreError when there is more than the file's size."""
        assert self._file is not None
        if self.done + len(chunk) > self.size:
            self.restart()
            raise StoreError(f"{self.destination.name} is longer than {self.size} bytes; not kept")
        self._file.write(chunk)
        self._hash.update(chunk)
        self.done += len(chunk)

    def finish(self) -> None:
        """Check the digest, make the bytes durable and rename them into place.

        Raises StoreError when the digest differs; the part is then gone.
        """
        assert self._file is not None
        if self._hash.hexdigest() != self.digest.value:
            self.close()
            self._path.unlink()
            self._validator.unlink(missing_ok=True)
            self._hash = self.digest.start(self.size)
            self.done = 0
            raise StoreError(
                f"bad checksum: {self.destination.name} is not the file that was asked for"
                f" ({self.digest.kind} should be {self.digest.value[:16]}…); not kept"
            )
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()
        self._path.replace(self.destination)
        self._validator.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file, keeping what is in it."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # of a full disk; `finish` has flushed before
                self._file.close()
            self._file = None

    @property
    def validator(self) -> str | None:
        """What the server said identifies the version that the part is of."""
        try:
            return self._validator.read_text(encoding="ascii") or None
        except (OSError, UnicodeDecodeError):
            return None

    @validator.setter
    def validator(self, value: str | None) -> None:
        self._validator.write_text(value or "", encoding="ascii")


def _transfer(url: str, part: Part, headers: Mapping[str, str], progress: Progress | None) -> None:
    """Append to `part` what is missing, going on after broken connections."""
    failures = 0
    while part.done < part.size:
        before = part.done
        try:
            _stream(url, part, headers, progress)
            reason = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code not in _RETRIED:
                raise _refused(url, error) from error
            reason = f"the server answers {error.code}"
        except (
            urllib.error.URLError,
            http.client.HTTPException,
            ssl.SSLError,
            TimeoutError,
            ConnectionError,
        ) as e:
            cause = e.reason if isinstance(e, urllib.error.URLError) else e
            reason = str(cause) or type(cause).__name__
        if part.done == part.size:
            return
        failures = 0 if part.done > before else failures + 1
        if failures >= _ATTEMPTS:
            host = urlsplit(url).netloc
            kept = (
                f" after {part.done} of {part.size} bytes; run it again to go on"
                if part.done
                else ""
            )
            raise StoreError(f"no network to {host}: {reason}{kept}")
        if failures:
            time.sleep(min(0.1 * 2**failures, 2.0))


def _stream(url: str, part: Part, headers: Mapping[str, str], progress: Progress | None) -> None:
    """One request: ask for what is missing, append what comes."""
    request = urllib.request.Request(url, headers=dict(headers))
    request.add_header("Accept-Encoding", "identity")
    if part.done:
        request.add_header("Range", f"bytes={part.done}-")
        if part.validator:
            request.add_header("If-Range", part.validator)
    try:
        response = _opener().open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        part.restart()
        return
    with response:
        expected = f"bytes {part.done}-{part.size - 1}/{part.size}"
        if part.done and (response.status != 206 or response.headers["Content-Range"] != expected):
            # No ranges here, or another version: what comes is the whole file.
            part.restart()
            if response.status == http.HTTPStatus.PARTIAL_CONTENT:
                return
        etag = response.headers.get("ETag")
        strong = etag if etag and not etag.startswith("W/") else None
        part.validator = strong or response.headers.get("Last-Modified")
        while chunk := response.read(_CHUNK):
            part.write(chunk)
            if progress is not None:
                progress(part.destination.name, part.done, part.size)


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Redirects)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http(s), leaving the authorization behind when the host changes."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request that follows `newurl`."""
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme not in ("http", "https") or (old.scheme, new.scheme) == ("https", "http"):
            raise StoreError(f"{old.netloc} redirects to {newurl!r}; not followed")
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and old.netloc != new.netloc:
            following.remove_header("Authorization")
        return following


def _refused(url: str, error: urllib.error.HTTPError) -> StoreError:
    host = urlsplit(url).netloc
    if error.code in (401, 403):
        return StoreError(
            f"{host} refuses {url} ({error.code}): it wants a login or a licence accepted"
        )
    return StoreError(f"{host} answers {error.code} {error.reason} for {url}")


def check_space(folder: Path, needed: int) -> None:
    """Raise StoreError when the disk of `folder` has not `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StoreError(f"no space in {folder}: {needed} bytes are needed, {free} are free")


def disk_error(error: OSError, path: Path) -> StoreError:
    """The StoreError for a write that failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(path.parent).free
            return StoreError(f"the disk is full: {path.parent} has {free} bytes left")
    return StoreError(f"cannot write {path}: {error.strerror or error}")


def matches(path: Path, size: int, digest: Digest) -> bool:
    """Whether `path` is a file of that size and digest."""
    if not path.is_file() or path.stat().st_size != size:
        return False
    hashed = digest.start(size)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hashed.update(chunk)
    return hashed.hexdigest() == digest.value
