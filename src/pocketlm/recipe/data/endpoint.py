"""A larger model that is asked over an OpenAI-compatible endpoint, `pocketlm serve` included.

Requests run side by side; a busy or briefly absent server is asked again. It knows prompts and
answers; it does not know what they are about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar
from urllib.parse import urlsplit

from pocketlm.errors import Error, OfflineError
from pocketlm.network import is_loopback, offline_by_environment

Key = TypeVar("Key")


class EndpointError(Error):
    """The endpoint cannot be reached, or does not do what is asked of it."""


class RefusedError(EndpointError):
    """The endpoint is there and does not take this request (status 400 or 422)."""


@dataclass(frozen=True)
class Asked:
    """One request."""

    prompt: str
    temperature: float = 0.0
    max_tokens: int = 512
    seed: int | None = None
    top_p: float | None = None


@dataclass(frozen=True)
class Answer:
    """What came back, and what it took."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    cut: bool
    """Whether `max_tokens` ended it."""
    refused: str = ""
    """Why this request alone was not taken, and there is no text."""


class Endpoint:
    """One model at one address."""

    def __init__(
        self, url: str, model: str | None, key: str | None, *, seconds: float = 300, tries: int = 5
    ) -> None:
        """Use `model` at `url` (as `http://127.0.0.1:8080/v1`); without one, the first it has.

        A request may take `seconds` and is made up to `tries` times, with growing pauses. Raises
        EndpointError where nothing answers, OfflineError for another machine where the network is
        forbidden.
        """
        import openai

        if offline_by_environment() and not is_loopback(_host(url)):
            raise OfflineError(f"{url} is not asked: POCKETLM_OFFLINE forbids the network")
        self._client = openai.OpenAI(
            base_url=url, api_key=key or "none", timeout=seconds, max_retries=tries - 1
        )
        self._url = url
        try:
            self.model = model or next(iter(self._client.models.list())).id
        except StopIteration:
            raise EndpointError(f"{url}: has no model") from None
        except openai.OpenAIError as error:
            raise self._error(error) from None

    def ask(self, asked: Asked) -> Answer:
        """One answer. Raises EndpointError where none comes, RefusedError where none will."""
        import openai

        try:
            got = self._client.chat.completions.create(
                model=self.model,
                messages=[{"role": "user", "content": asked.prompt}],
                temperature=asked.temperature,
                max_tokens=asked.max_tokens,
                seed=asked.seed if asked.seed is not None else openai.omit,
                top_p=asked.top_p if asked.top_p is not None else openai.omit,
            )
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise RefusedError(f"{self._url}: {error}") from None
        except openai.OpenAIError as error:
            raise self._error(error) from None
        if not got.choices:
            raise EndpointError(f"{self._url}: answered without an answer")
        choice, usage = got.choices[0], got.usage
        return Answer(
            choice.message.content or "",
            usage.prompt_tokens if usage else 0,
            usage.completion_tokens if usage else 0,
            choice.finish_reason == "length",
        )

    def ask_all(
        self, wanted: Iterable[tuple[Key, Asked]], parallel: int, *, tolerant: bool = False
    ) -> Iterator[tuple[Key, Answer]]:
        """Answers as they come, at most `parallel` requests at a time.

        Raises EndpointError where the endpoint goes away, or refuses a request; a `tolerant` caller
        gets an answer that is `refused` in place of the latter. The answers that had come or are
        on their way are given before it.
        """
        pending: dict[Future[Answer], Key] = {}
        rest = iter(wanted)
        failed: EndpointError | None = None
        with ThreadPoolExecutor(parallel) as pool:
            while True:
                if failed is None:
                    for key, asked in islice(rest, parallel - len(pending)):
                        pending[pool.submit(self.ask, asked)] = key
                if not pending:
                    break
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    key = pending.pop(future)
                    try:
                        answer = future.result()
                    except RefusedError as error:
                        if tolerant:
                            yield key, Answer("", 0, 0, cut=False, refused=str(error))
                        else:
                            failed = error
                    except EndpointError as error:
                        failed = error
                    else:
                        yield key, answer
        if failed is not None:
            raise failed

    def _error(self, error: Exception) -> EndpointError:
        import openai

        if isinstance(error, openai.APIConnectionError):
            said = "took too long" if isinstance(error, openai.APITimeoutError) else "is not there"
            return EndpointError(f"{self._url}: {said}; run the same command to go on")
        return EndpointError(f"{self._url}: {error}")


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
