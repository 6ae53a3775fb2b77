"""A process of its own for work on what strangers made: it may crash, hang or grow, and is ended.

Knows both halves: `Child` starts the process, asks it and ends it; `serve` is what runs there. Does
not know what is asked. A request is JSON and bytes, an answer is JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from pocketlm.errors import Error

#: Processor seconds and bytes of memory for one answer.
CPU_SECONDS = 60.0
MEMORY_BYTES = 1 << 30
#: Wall-clock seconds for each of the processor's, as other programs run as well; and to start.
_PATIENCE, _START = 4.0, 20.0
_MOST_ANSWER = 1 << 28
_LENGTHS = struct.Struct(">II")


class ChildError(Error):
    """The process refused, crashed or took too long; the message says which, after a name."""


class Child:
    """A process that runs a module which calls `serve`. Safe to use from several threads.

    It starts with the first question and again after it ended, and ends with `close` or with this
    object.
    """

    def __init__(
        self, module: str, *, seconds: float = CPU_SECONDS, memory: int = MEMORY_BYTES
    ) -> None:
        """`seconds` of the processor's for each answer; `memory` in bytes beyond the start's."""
        self._module = module
        self._seconds = seconds
        self._memory = memory
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: object, data: bytes = b"", *, deadline: float | None = None) -> Any:  # noqa: ANN401  (JSON)
        """What it answers. Raises ChildError, in words that follow a file's name.

        With a `deadline` (of `time.monotonic`) it is ended then, if it has not answered.
        """
        with self._lock:
            patience = self._seconds * _PATIENCE + _START
            if deadline is not None:
                patience = min(patience, deadline - time.monotonic())
                if patience <= 0:
                    raise ChildError("waited too long to be read")
            process = self._started()
            late = threading.Event()

            def end() -> None:
                late.set()
                process.kill()

            timer = threading.Timer(patience, end)
            timer.daemon = True
            timer.start()
            try:
                reply = _exchange(process, json.dumps(request).encode(), data)
            except (OSError, EOFError, ValueError):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=1)  # of what it died
                code = self._end()
                if code in (-signal.SIGPROF, -signal.SIGXCPU):
                    raise ChildError(f"takes more than {self._seconds:g} s to read") from None
                if late.is_set():
                    raise ChildError("takes too long to read") from None
                raise ChildError(f"crashed what reads it (status {code})") from None
            except BaseException:  # Ctrl-C: an answer would be left in the pipe
                self._end()
                raise
            finally:
                timer.cancel()
        if "refused" in reply:
            raise ChildError(reply["refused"])
        return reply["answer"]

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", self._module),
                    *(str(self._seconds), str(self._memory)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "LC_ALL": "C.UTF-8"},
            )
            self._finalizer = weakref.finalize(self, _kill, self._process)
        return self._process

    def _end(self) -> int | None:
        if self._process is None:
            return None
        process, self._process = self._process, None
        self._finalizer()
        return process.returncode


def _exchange(process: subprocess.Popen[bytes], request: bytes, data: bytes) -> dict[str, Any]:
    """Raises EOFError or OSError when the process has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(_LENGTHS.pack(len(request), len(data)))
    process.stdin.write(request)
    process.stdin.write(data)
    process.stdin.flush()
    head = process.stdout.read(_LENGTHS.size)
    if len(head) < _LENGTHS.size:
        raise EOFError
    length, _ = _LENGTHS.unpack(head)
    if length > _MOST_ANSWER:
        raise EOFError
    body = process.stdout.read(length)
    if len(body) < length:
        raise EOFError
    reply: dict[str, Any] = json.loads(body)
    return reply


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what it was not told any more
                pipe.close()


def serve(answer: Callable[[Any, bytes], Any]) -> None:
    """Answer requests until there are no more: what a child's module calls.

    `answer` raises ChildError for what it refuses. Whatever else it raises is a fault of what it
    read, and refused as well.
    """
    seconds, memory = float(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    asked, said = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints would break the answer
    _limit(memory)
    while head := asked.read(_LENGTHS.size):
        lengths = _LENGTHS.unpack(head)
        request, data = json.loads(asked.read(lengths[0])), asked.read(lengths[1])
        signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF ends the process
        try:
            reply = {"answer": answer(request, data)}
        except ChildError as error:
            reply = {"refused": str(error)[:1000]}
        except (MemoryError, RecursionError):
            reply = {"refused": "takes too much memory to read"}
        except Exception as error:
            reply = {"refused": f"is damaged ({type(error).__name__}: {str(error)[:200]})"}
        body = json.dumps(reply).encode()
        signal.setitimer(signal.ITIMER_PROF, 0)
        said.write(_LENGTHS.pack(len(body), 0))
        said.write(body)
        said.flush()


def _limit(memory: int) -> None:
    """Give up what reading has no need of."""
    with open("/proc/self/statm" if sys.platform == "linux" else os.devnull) as file:
        pages = [int(word) for word in file.read().split()]
    limits = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0, resource.RLIMIT_NPROC: 0}
    if pages:  # elsewhere it cannot be limited; time bounds what is taken
        # Of data, not of addresses: an archive that is mapped takes addresses alone.
        limits[resource.RLIMIT_DATA] = pages[5] * resource.getpagesize() + memory
    for what, limit in limits.items():
        _, hard = resource.getrlimit(what)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(what, (limit, limit))
