"""What OpenAI's endpoints have in common: sampling fields, usage, log-probabilities, errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request

from pocketlm.engine.answer import Generation
from pocketlm.engine.constraint import Constraint, from_grammar, from_regex, from_schema
from pocketlm.engine.sampling import Token
from pocketlm.formats.tokenizer import Tokenizer
from pocketlm.serve.errors import ApiError
from pocketlm.serve.http import Body, Many
from pocketlm.serve.task import Outcome, sampling_of

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def error(error: ApiError) -> dict[str, object]:
    """An error as OpenAI's clients read it."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return {
        "error": {
            "message": error.message,
            "type": _TYPES.get(error.status, kind),
            "param": error.param,
            "code": error.code,
        }
    }


class StreamOptions(Body):
    """What a stream holds beside the answer."""

    include_usage: bool = False


class JsonSchema(Body):
    """A schema with a name."""

    name: str | None = None
    schema_: Annotated[Any, Field(alias="schema")] = None
    strict: bool | None = None


class ResponseFormat(Body):
    """What an answer must be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def constraint(self) -> Constraint | None:
        """The same. Raises ApiError, or a ConstraintError that names what is wrong."""
        if self.type == "text":
            return None
        if self.type == "json_object":
            return from_schema({"type": "object"})
        if self.json_schema is None or self.json_schema.schema_ is None:
            raise ApiError(400, "response_format holds no schema", param="response_format")
        return from_schema(self.json_schema.schema_)


class Generating(Body):
    """What the bodies of chats and of completions have in common.

    Those fields that OpenAI's API does not know are ours.
    """

    model: str | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**64 - 1)] | None = None
    stop: str | Annotated[Many[str], Field(max_length=16)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    regex: str | None = None
    grammar: str | None = None

    def sampling(self, max_tokens: int | None, logprobs: int | None) -> dict[str, Any]:
        """As the engine takes it."""
        return sampling_of(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            seed=self.seed,
            stop=self.stop,
            logit_bias={_id(key): bias for key, bias in (self.logit_bias or {}).items()},
            max_tokens=max_tokens,
            logprobs=logprobs,
        )

    def constraint(self) -> Constraint | None:
        """What the answer must match. Raises ApiError or ConstraintError."""
        found = [self.response_format.constraint()] if self.response_format is not None else []
        if self.regex is not None:
            found.append(from_regex(self.regex))
        if self.grammar is not None:
            found.append(from_grammar(self.grammar))
        found = [each for each in found if each is not None]
        if len(found) > 1:
            raise ApiError(
                400, "give one of response_format, regex, grammar", param="response_format"
            )
        return found[0] if found else None


def _id(key: str) -> int:
    if not key.isascii() or not key.isdigit() or len(key) > 9:
        raise ApiError(
            400, f"logit_bias has {key[:40]!r}, which is no token id", param="logit_bias"
        )
    return int(key)


def checked_choices(request: Request, choices: int | None) -> None:
    """Raise ApiError for more choices than the server gives."""
    most: int = request.app.state.settings.choices
    if (choices or 1) > most:
        raise ApiError(400, f"n is {choices}; it may be at most {most}", param="n")


def texts_of(
    given: str | list[int] | list[str] | list[list[int]],
) -> list[str | list[int]]:
    """The texts that a field holds: one as it is, one as token ids, or several of either."""
    if isinstance(given, str):
        return [given]
    ids = [each for each in given if isinstance(each, int)]
    return [ids] if len(ids) == len(given) else [*(e for e in given if not isinstance(e, int))]


def usage(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Tokens that were read and written."""
    first = outcomes[0].generation
    completion = sum(outcome.generation.completion_tokens for outcome in outcomes)
    return _usage(first.prompt_tokens, completion, first.cached_tokens)


def usage_of(generations: Sequence[Generation]) -> dict[str, object]:
    """The same of a model that was asked several times, one after another."""
    return _usage(
        sum(each.prompt_tokens for each in generations),
        sum(each.completion_tokens for each in generations),
        sum(each.cached_tokens for each in generations),
    )


def _usage(prompt: int, completion: int, cached: int) -> dict[str, object]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def logprob(tokenizer: Tokenizer, token: Token) -> dict[str, object]:
    """A token with its log-probability and the likeliest others."""
    assert token.logprob is not None
    return {
        **_entry(tokenizer, token.id, token.logprob),
        "top_logprobs": [_entry(tokenizer, id, value) for id, value in token.top],
    }


def _entry(tokenizer: Tokenizer, id: int, logprob: float) -> dict[str, object]:
    data = tokenizer.token_bytes(id) if id < tokenizer.vocab_size else b""
    return {
        "token": spelled(tokenizer, id),
        "logprob": max(logprob, -9999.0),
        "bytes": list(data),
    }


def spelled(tokenizer: Tokenizer, id: int) -> str:
    """A token as text: half a character is U+FFFD, a control token its name."""
    if id >= tokenizer.vocab_size:
        return ""
    data = tokenizer.token_bytes(id)
    return data.decode("utf-8", "replace") if data else tokenizer.spelling(id)
