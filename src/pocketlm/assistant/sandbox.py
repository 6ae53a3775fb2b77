"""Running a program that nobody has read: bubblewrap round it, limits on it, an end to it.

The program sees a read-only system without homes, configuration, devices or environment, a private
/tmp, no network and no other processes. Its time, memory, processes, files and output are bounded.
Where no such place can be made, nothing is run: there is no weaker way. It knows processes; it does
not know why a program is run, nor what its output means.
"""

from __future__ import annotations

import functools
import os
import secrets
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pocketlm.assistant import seccomp
from pocketlm.errors import SandboxError, UnsupportedError

#: Where the program finds itself, and where it may write.
PROGRAM, FOLDER = "/main.py", "/tmp"

_PROBE_SECONDS = 10.0
#: Directories of a system that hold programs and libraries, and nobody's data.
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_FILES = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": FOLDER,
    "LANG": "C.UTF-8",
    "TERM": "xterm",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "SDL_VIDEODRIVER": "dummy",
    "SDL_AUDIODRIVER": "dummy",
}
#: Runs inside, before the program: limits on it, and (if root began this) a user of its own, since
#: root's processes are not counted.
_LAUNCHER = """\
import ctypes, os, resource, struct, sys
user, cpu, memory, processes, file = map(int, sys.argv[1:6])
for what, most in (
    (resource.RLIMIT_CPU, cpu), (resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, file),
    (resource.RLIMIT_NPROC, processes), (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_MEMLOCK, 0), (resource.RLIMIT_MSGQUEUE, 0), (resource.RLIMIT_STACK, 8 << 20),
):
    resource.setrlimit(what, (most, most))
if user:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    if ctypes.CDLL(None).capset(struct.pack("Ii", 0x20080522, 0), bytes(24)):
        sys.exit("capabilities stay")
os.execv(sys.argv[6], sys.argv[6:])
"""


@dataclass(frozen=True)
class Limits:
    """What a program may use. Bytes of memory are of each process, of which there may be few."""

    seconds: float = 10.0
    memory: int = 512 << 20
    processes: int = 8
    #: Bytes of one file, and of all in the private folder together.
    file: int = 16 << 20
    folder: int = 64 << 20
    #: Bytes of standard output and error together.
    output: int = 64 << 10


@dataclass(frozen=True)
class Outcome:
    """How a program ended, and what it wrote; both outputs as text, with "\\ufffd" for the rest.

    `code` is the exit code, negative the number of a signal; None where it was ended from outside,
    and then `stopped` says why: "time" or "output".
    """

    code: int | None
    output: str
    errors: str
    seconds: float
    stopped: str | None = None


def check() -> None:
    """Raise SandboxError, which says what to do, where no sandbox can be made. Tried once."""
    reason = _obstacle()
    if reason is not None:
        raise SandboxError(f"no program is run without a sandbox, and there is none: {reason}")


def run_python(
    code: str,
    limits: Limits = Limits(),
    *,
    stdin: str = "",
    files: Mapping[str, str] | None = None,
) -> Outcome:
    """Run Python code, with read-only `files` (name to text) beside it in /.

    The interpreter is this one's, without the packages of this environment. Raises SandboxError.
    """
    check()
    with tempfile.TemporaryDirectory(prefix="pocketlm-sandbox-") as folder:
        texts = {PROGRAM.strip("/"): code, **(files or {})}
        mounted = []
        for name, text in texts.items():
            path = Path(folder, name)
            path.write_bytes(text.encode("utf-8", "replace"))
            path.chmod(0o444)
            mounted += ["--ro-bind", str(path), f"/{name}"]
        command = [_interpreter(), "-I", "-B", "-u", "-X", "utf8", PROGRAM]
        return _run(command, limits, mounted, stdin.encode("utf-8", "replace"))


def _run(command: Sequence[str], limits: Limits, mounted: Sequence[str], stdin: bytes) -> Outcome:
    start = time.monotonic()
    with _filter() as descriptor, tempfile.TemporaryFile() as given:
        given.write(stdin)
        given.seek(0)
        process = subprocess.Popen(
            [*_bubblewrap(limits, mounted, descriptor), *_launcher(limits), *command],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={},  # of which the sandbox's first process would tell
            cwd="/",
            pass_fds=[descriptor],
            start_new_session=True,
        )
        try:
            output, errors, stopped = _read(process, start + limits.seconds, limits.output)
        finally:
            # The sandbox's first process dies with bubblewrap, and all others with that one.
            process.kill()
            code = process.wait()
            for pipe in (process.stdout, process.stderr):
                assert pipe is not None
                pipe.close()
    if code > 128:  # as a shell has it
        code = 128 - code
    seconds = time.monotonic() - start
    return Outcome(None if stopped else code, output, errors, seconds, stopped)


def _read(process: subprocess.Popen[bytes], end: float, most: int) -> tuple[str, str, str | None]:
    """What a process writes until it ends, or is to be ended: then the reason is there too."""
    assert process.stdout is not None
    assert process.stderr is not None
    pipes: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    stopped = None
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, pipe)
        while selector.get_map() and stopped is None:
            left = end - time.monotonic()
            if left <= 0:
                stopped = "time"
                break
            for key, _ in selector.select(left):
                pipe = key.data
                data = os.read(pipe.fileno(), 1 << 16)
                if not data:
                    selector.unregister(pipe)
                room = most - sum(map(len, pipes.values()))
                pipes[pipe] += data[:room]
                if len(data) > room:
                    stopped = "output"
                    break
    if stopped is None:
        try:
            process.wait(max(end - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            stopped = "time"
    output, errors = (bytes(found).decode("utf-8", "replace") for found in pipes.values())
    return output, errors, stopped


def _bubblewrap(limits: Limits, mounted: Sequence[str], descriptor: int) -> list[str]:
    program = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    assert program is not None
    arguments = [program, "--die-with-parent", "--new-session", "--clearenv"]
    arguments += ["--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    arguments += ["--unshare-cgroup-try", "--hostname", "sandbox", "--cap-drop", "ALL"]
    if os.geteuid() == 0:
        arguments += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        arguments += ["--unshare-user"]
    for folder in _SYSTEM:
        if os.path.islink(folder):
            arguments += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            arguments += ["--ro-bind", folder, folder]
    for file in (*_FILES, *_interpreter_folders()):
        for parent in reversed(Path(file).parents[:-1]):
            arguments += ["--perms", "0755", "--dir", str(parent)]
        arguments += ["--ro-bind-try", file, file]
    arguments += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    arguments += ["--perms", "1777", "--size", str(limits.folder), "--tmpfs", FOLDER]
    arguments += [*mounted, "--remount-ro", "/", "--chdir", FOLDER]
    for name, value in _ENVIRONMENT.items():
        arguments += ["--setenv", name, value]
    return [*arguments, "--seccomp", str(descriptor), "--"]


def _launcher(limits: Limits) -> list[str]:
    # A user that nobody is, and nobody else's sandbox either: its processes are counted alone.
    user = 0x70000000 + secrets.randbelow(1 << 24) if os.geteuid() == 0 else 0
    numbers = (user, max(int(limits.seconds) + 1, 1), limits.memory, limits.processes, limits.file)
    return [_interpreter(), "-I", "-S", "-c", _LAUNCHER, *map(str, numbers)]


def _interpreter() -> str:
    """This interpreter, outside of any virtual environment."""
    return os.path.realpath(sys.executable)


def _interpreter_folders() -> Iterator[str]:
    """Where it lies, if not with the system: its program and its libraries, not all beside them."""
    for name in (sys.base_prefix, sys.base_exec_prefix):
        prefix = Path(os.path.realpath(name))
        if not prefix.is_relative_to("/usr"):
            yield from (str(prefix / part) for part in ("bin", "lib", "lib64"))


@contextmanager
def _filter() -> Iterator[int]:
    """A descriptor from which bubblewrap reads the filter of system calls."""
    reading, writing = os.pipe()
    try:
        os.write(writing, seccomp.program())
        os.close(writing)
        yield reading
    finally:
        os.close(reading)


@functools.cache
def _obstacle() -> str | None:
    """Why there can be no sandbox; None where one was made and a program ran in it."""
    if sys.platform != "linux":
        return f"it needs Linux, and this is {sys.platform}"
    if shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin") is None:
        return "bubblewrap is not installed; `apt install bubblewrap`, or as your system has it"
    try:
        seccomp.program()
    except UnsupportedError as error:
        return str(error)
    command = [_interpreter(), "-I", "-S", "-c", "print(6 * 7)"]
    outcome = _run(command, Limits(seconds=_PROBE_SECONDS), [], b"")
    if outcome.output == "42\n" and outcome.code == 0:
        return None
    said = " ".join(outcome.errors.split())[:200] or f"it ended with {outcome.code}"
    return f"bubblewrap cannot make one here, perhaps because user namespaces are off: {said}"
