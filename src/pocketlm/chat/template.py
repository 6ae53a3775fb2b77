"""A chat template of a model file, rendered where it can do no harm.

Knows the process that templates run in (`template_worker.py`): starts it, asks it, ends it when it
does not answer. Does not know tokens, nor what the messages mean.
"""

import importlib.util
import json
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pocketlm.chat.call_forms import HERMES, Form, native_form
from pocketlm.chat.template_worker import CPU_SECONDS
from pocketlm.errors import TemplateError

#: The longest template that is looked at, in characters; the longest real ones have 30,000.
MAX_SOURCE = 1 << 20
#: How long an answer is waited for when the machine is so busy that the process hardly runs.
WAIT_SECONDS = 20.0


class RefusalError(TemplateError):
    """The template itself said that it cannot take these messages (`raise_exception`)."""


class ChatTemplate:
    """A compiled chat template. Safe to use from several threads.

    The process that renders it starts with `warm` or the first rendering, and ends with `close` or
    with this object. `note` is a word for the user when the template is not the file's own, and
    `stop_strings` end an answer where no token does.
    """

    def __init__(
        self, source: str, *, note: str | None = None, stop_strings: tuple[str, ...] = ()
    ) -> None:
        """Take a template's text. Raises TemplateError when it is too long to be one."""
        if len(source) > MAX_SOURCE:
            raise TemplateError(
                f"the chat template is {len(source)} characters long; at most {MAX_SOURCE} are read"
            )
        self.source = source
        self.note = note
        self.stop_strings = stop_strings
        self._lock = threading.Lock()
        self._worker: _Worker | None = None

    @property
    def call_form(self) -> Form:
        """How a model writes calls of functions: the template's own form, or the usual one."""
        return native_form(self.source) or HERMES

    def warm(self) -> None:
        """Start the process, without waiting for it."""
        with self._lock:
            self._started()

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """The text of a conversation.

        `variables` are the template's others (`bos_token`, `eos_token`, …). All values must be such
        as JSON holds. Raises TemplateError, after a second or two at most, for a template that is
        broken, runs or writes without end, takes too much memory or reaches for Python's internals;
        RefusalError for one that refuses the messages.
        """
        request = {
            **(variables or {}),
            "messages": messages,
            "tools": tools,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }
        with self._lock:
            worker = self._started()
            try:
                if not worker.compiled:
                    _checked(worker.ask(self.source))
                    worker.compiled = True
                reply = worker.ask(request)
            except TemplateError:
                self._end()
                raise
            return _checked(reply).get("text", "")

    def close(self) -> None:
        """End the process. Rendering again starts another."""
        with self._lock:
            self._end()

    def _started(self) -> "_Worker":
        if self._worker is None:
            self._worker = _Worker()
        return self._worker

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None


def _checked(reply: dict[str, str]) -> dict[str, str]:
    if "refused" in reply:
        raise RefusalError(f"the chat template refuses the messages: {_line(reply['refused'])}")
    if "error" in reply:
        raise TemplateError(f"the chat template {_reason(reply['error'])}")
    return reply


def _reason(error: str) -> str:
    name, colon, message = error.partition(": ")
    return f"is broken ({_line(message)})" if colon and name.isidentifier() else error


def _line(text: str) -> str:
    return " ".join(text.split())[:200]


class _Worker:
    """The process that renders one template: one request, one answer, each a line of JSON."""

    def __init__(self) -> None:
        where = Path(__file__).with_name("template_worker.py")
        self.compiled = False
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(where), *_paths("jinja2", "markupsafe")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            bufsize=0,
        )
        self._end = weakref.finalize(self, _kill, self._process)

    def ask(self, request: object) -> dict[str, Any]:
        """Raises TemplateError when the process ends, or does not answer in time."""
        assert self._process.stdin is not None
        try:
            line = json.dumps(request).encode() + b"\n"
        except (TypeError, ValueError, RecursionError) as error:
            raise TemplateError(
                f"the messages hold what JSON cannot: {_line(str(error))}"
            ) from None
        try:
            view = memoryview(line)
            while view:
                view = view[self._process.stdin.write(view) :]
            answer: dict[str, Any] = json.loads(self._read_line())
        except TimeoutError:
            raise TemplateError(f"the chat template gave no answer in {WAIT_SECONDS:g} s") from None
        except (OSError, EOFError):
            code = self._process.wait(timeout=WAIT_SECONDS)
            if code == -signal.SIGPROF:
                reason = f"runs for more than {CPU_SECONDS:g} s"
            else:
                reason = f"ended the process that renders it (status {code})"
            raise TemplateError(f"the chat template {reason}") from None
        return answer

    def end(self) -> None:
        """End the process at once."""
        self._end()

    def _read_line(self) -> bytes:
        """Raises EOFError when the process has ended, TimeoutError when it is late."""
        pipe = self._process.stdout
        assert pipe is not None
        deadline = time.monotonic() + WAIT_SECONDS
        chunks: list[bytes] = []
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while not chunks or not chunks[-1].endswith(b"\n"):
                if not selector.select(deadline - time.monotonic()):
                    raise TimeoutError
                chunk = pipe.read(1 << 20)
                if not chunk:
                    raise EOFError
                chunks.append(chunk)
        return b"".join(chunks)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _paths(*packages: str) -> list[str]:
    """Where packages lie, found without importing them."""
    folders: dict[str, None] = {}
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise TemplateError(f"the package {package} is not installed")
        folders[str(Path(spec.origin).parent.parent)] = None
    return list(folders)
