"""A judge: any server that speaks OpenAI's chat completions, asked patiently and within limits.

It knows HTTP and that form; it does not know what is judged.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import SplitResult, urlsplit

import pocketlm
from pocketlm.assistant.visible import shortened, visible
from pocketlm.chat.prompt import Message
from pocketlm.errors import JudgeError, OfflineError, ParameterError
from pocketlm.network import is_loopback, offline_by_environment

KEY = "POCKETLM_JUDGE_KEY"
#: Seconds that one judgement may take in all, and until a server must have taken the call.
SECONDS, CONNECT_SECONDS = 600.0, 10.0
#: Seconds to wait before each new try; a server may ask for more, up to MOST_PAUSE.
PAUSES, MOST_PAUSE = (1.0, 2.0, 4.0, 8.0), 60.0
#: Most bytes of an answer, and most tokens of a judgement.
MOST_BYTES, TOKENS = 4 << 20, 2048

_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


@dataclass(frozen=True)
class Judge:
    """Where a judge is: `url` as in http://127.0.0.1:8000/v1; `model` None takes its only one.

    Raises ParameterError for what is no URL of a server, OfflineError for one that is not on this
    machine while the network is forbidden. The key is sent to that server alone.
    """

    url: str
    model: str | None = None
    key: str | None = field(default=None, repr=False)
    tokens: int = TOKENS
    seconds: float = SECONDS
    pauses: Sequence[float] = PAUSES

    def __post_init__(self) -> None:
        """Check the URL."""
        parts = self._parts
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or not self.url.isprintable()
        ):
            raise ParameterError(
                f"the judge is {shortened(visible(self.url), 200)!r}; "
                "write the URL of a server: http://127.0.0.1:8000/v1"
            )
        if parts.username is not None or parts.query or parts.fragment:
            raise ParameterError(
                f"the judge's URL is written into the results: give a key by {KEY} instead"
            )
        if self.key is not None and not (self.key.isascii() and self.key.isprintable()):
            raise ParameterError(f"{KEY} holds characters that no key has")
        is_here = is_loopback(parts.hostname)
        if self.key and parts.scheme == "http" and not is_here:
            raise ParameterError(
                f"{KEY} would cross the network unencrypted: use https://, or unset it"
            )
        if not is_here and offline_by_environment():
            raise OfflineError(
                f"{self.url} is not asked: --offline (POCKETLM_OFFLINE) forbids the network"
            )

    @classmethod
    def of(cls, url: str, model: str | None = None) -> Judge:
        """The judge at a URL, with the key of the environment."""
        return cls(url, model, os.environ.get(KEY) or None)

    @property
    def _parts(self) -> SplitResult:
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError:
            return SplitResult("", "", "", "", "")
        return parts

    def named(self, stop: threading.Event) -> Judge:
        """The same judge with its model's name, for which its server is asked if need be.

        Raises JudgeError where the server has none, or several.
        """
        if self.model is not None:
            return self
        listed = self._request("GET", "/models", None, stop).get("data")
        names = [
            str(each["id"])
            for each in (listed if isinstance(listed, list) else [])
            if isinstance(each, dict) and "id" in each
        ]
        if len(names) != 1:
            few = shortened(visible(", ".join(names)), 200) or "none"
            raise JudgeError(
                f"{self.url} has {len(names)} models ({few}): name one by --judge-model"
            )
        return replace(self, model=names[0])

    def ask(self, messages: Sequence[Message], stop: threading.Event) -> str:
        """What the judge answers; the likeliest tokens where it honours that.

        Tries again where that may help. Raises JudgeError where nothing helps, and as soon as
        `stop` is set between two tries.
        """
        body = {
            "model": self.model,
            "messages": list(messages),
            "temperature": 0,
            "max_tokens": self.tokens,
        }
        found = self._request("POST", "/chat/completions", body, stop)
        try:
            text = found["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            text = None
        if not isinstance(text, str):
            raise JudgeError(f"{self.url} answers what is no chat completion")
        return text

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None, stop: threading.Event
    ) -> dict[str, Any]:
        """One exchange, tried again where it may help."""
        pauses = [*self.pauses, None]
        for pause in pauses:
            try:
                return self._once(method, path, body, stop)
            except _LaterError as error:
                if pause is None:
                    raise JudgeError(f"{error} (tried {len(pauses)} times)") from None
                wait = min(max(pause, error.pause), MOST_PAUSE)
                if stop.wait(wait):
                    raise JudgeError(f"{error}; stopped") from None
        raise AssertionError("the last pause is None")

    def _once(
        self, method: str, path: str, body: Mapping[str, Any] | None, stop: threading.Event
    ) -> dict[str, Any]:
        """One exchange. Raises _LaterError where another try may help, else JudgeError."""
        parts = self._parts
        connection = self._connection(parts)
        # Time-outs of sockets begin again with each byte; the watch does not.
        watch = _Watch(self.seconds, stop)
        try:
            connection.connect()
            assert connection.sock is not None
            connection.sock.settimeout(self.seconds)
            watch.over(connection.sock)
            target = parts.path.rstrip("/").removesuffix("/chat/completions") + path
            payload = None if body is None else json.dumps(body).encode()
            connection.request(method, target, payload, self._headers())
            response = connection.getresponse()
            content = response.read(MOST_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            raise JudgeError(
                f"{self.url} cannot prove that it is: {error.verify_message}"
            ) from None
        except TimeoutError:
            raise _LaterError(f"{self.url} took too long") from None
        except (OSError, http.client.HTTPException) as error:
            said = "took too long" if watch.hung_up else f"cannot be reached: {_reason(error)}"
            raise _LaterError(f"{self.url} {said}") from None
        finally:
            watch.end()
            connection.close()
        if watch.hung_up:  # the end of an answer that was cut here looks like any other
            raise _LaterError(f"{self.url} took too long")
        if len(content) > MOST_BYTES:
            raise JudgeError(f"{self.url} answers more than {MOST_BYTES >> 20} MiB")
        return self._understood(response, content)

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        host = parts.hostname or ""
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=CONNECT_SECONDS)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            host, parts.port, timeout=CONNECT_SECONDS, context=context
        )

    def _headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"pocketlm/{pocketlm.__version__}",
        }
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        return headers

    def _understood(self, response: http.client.HTTPResponse, content: bytes) -> dict[str, Any]:
        """The answer as JSON. Raises _LaterError or JudgeError for a status other than 200."""
        status = response.status
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            found = None
        if status != http.HTTPStatus.OK:
            said = f"{self.url} answers {status}{_said(found)}"
            if status in _AGAIN:
                raise _LaterError(said, _seconds(response.headers.get("Retry-After")))
            hint = {401: f"; set {KEY}", 403: f"; set {KEY}", 404: "; --judge-model, or the path?"}
            raise JudgeError(said + hint.get(status, ""))
        if not isinstance(found, dict):
            # A proxy's page, or a server that broke: another try may find it well.
            raise _LaterError(f"{self.url} answers what is no JSON")
        return found


class _LaterError(Exception):
    """It failed, and may not fail again; `pause` is how long the server wants to be left alone."""

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class _Watch:
    """Hangs up when time is over, or all is to stop."""

    def __init__(self, seconds: float, stop: threading.Event) -> None:
        self._stop = stop
        self._deadline = time.monotonic() + seconds
        self._done = threading.Event()
        self.hung_up = False

    def over(self, connection: socket.socket) -> None:
        """Begin to watch a connection."""
        threading.Thread(target=self._run, args=[connection], daemon=True).start()

    def end(self) -> None:
        """There is nothing more to watch."""
        self._done.set()

    def _run(self, connection: socket.socket) -> None:
        while not self._done.wait(0.1):
            if self._stop.is_set() or time.monotonic() > self._deadline:
                self.hung_up = True
                with contextlib.suppress(OSError):  # it may have ended by itself
                    connection.shutdown(socket.SHUT_RDWR)
                return


def _reason(error: Exception) -> str:
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return shortened(visible(words), 200)


def _said(found: object) -> str:
    """What a server says of its refusal."""
    error = found.get("error") if isinstance(found, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return f": {shortened(visible(message), 200)}" if isinstance(message, str) else ""


def _seconds(header: str | None) -> float:
    """A Retry-After in seconds; 0 for none, or one that is a date."""
    return float(header) if header and header.isascii() and header.isdigit() else 0.0
