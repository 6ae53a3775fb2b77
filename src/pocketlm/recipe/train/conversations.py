"""Examples of conversations: reading them, and which of their tokens are learned.

A line is `{"messages": [{"role": …, "content": …}, …]}`. The model's own chat template renders it;
learned is what the assistant says and the token that ends its turn, nothing else. It knows
templates and token ids; it knows no training.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import transformers
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pocketlm.errors import ParameterError

Tokenizer = transformers.PreTrainedTokenizerFast

#: The label of a token that is not learned, in PyTorch and in trl.
IGNORED = -100


class Message(BaseModel):
    """One turn."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


class Conversation(BaseModel):
    """A line of a file."""

    model_config = ConfigDict(extra="ignore")

    messages: Annotated[list[Message], Field(min_length=1)]


class Preference(BaseModel):
    """A line of a file of preferences: to the same messages a better answer and a worse one."""

    model_config = ConfigDict(extra="ignore")

    messages: Annotated[list[Message], Field(min_length=1)]
    chosen: Annotated[str, Field(min_length=1)]
    rejected: Annotated[str, Field(min_length=1)]


Example = TypeVar("Example", Conversation, Preference)


def read_conversations(paths: Sequence[Path]) -> list[Conversation]:
    """All examples of files of JSON lines. Raises ParameterError that names file and line."""
    found = []
    for where, line in _lines(paths):
        conversation = _checked(Conversation, line, where)
        if not any(message.role == "assistant" for message in conversation.messages):
            raise ParameterError(f"{where}: messages: the assistant says nothing to learn from")
        found.append(conversation)
    return found


def read_preferences(paths: Sequence[Path]) -> list[Preference]:
    """All pairs of files of JSON lines. Raises ParameterError that names file and line."""
    found = []
    for where, line in _lines(paths):
        preference = _checked(Preference, line, where)
        if preference.messages[-1].role != "user":
            raise ParameterError(f"{where}: messages: the last one must be the user's")
        found.append(preference)
    return found


def tokens(tokenizer: Tokenizer, messages: Sequence[Message]) -> dict[str, list[int]]:
    """`input_ids` of a conversation and `labels`: the ids that are learned, IGNORED elsewhere.

    `tokenizer` is transformers' fast one. The conversation is tokenised whole, as it is in use.
    Raises ParameterError for a template under which earlier turns change with later ones, since no
    part of the text is then certainly what the assistant says.
    """
    turns = [message.model_dump() for message in messages]
    text = _rendered(tokenizer, turns)
    spans = []
    for index, turn in enumerate(turns):
        if turn["role"] != "assistant":
            continue
        before = _rendered(tokenizer, turns[:index], prompt=True)
        after = _rendered(tokenizer, turns[: index + 1])
        if not text.startswith(after) or not after.startswith(before):
            raise ParameterError(
                "the model's chat template changes earlier turns with later ones; "
                "its conversations cannot be learned turn by turn"
            )
        # Blanks after the token that ends the turn belong to the template.
        spans.append((len(before), len(after.rstrip())))
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    labels = [
        id if any(start < to <= end for start, end in spans) else IGNORED
        for id, (_, to) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ]
    return {"input_ids": list(encoded["input_ids"]), "labels": labels}


def _rendered(tokenizer: Tokenizer, turns: list[dict[str, str]], *, prompt: bool = False) -> str:
    """The turns as text; with `prompt` up to where the assistant begins."""
    if not turns:
        return ""
    try:
        text = str(
            tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt)
        )
    except Exception as error:  # a template raises what it likes
        raise ParameterError(f"the model's chat template fails: {error}") from None
    # Some templates end a text for good where no answer is asked for.
    return text if prompt or not tokenizer.eos_token else text.removesuffix(tokenizer.eos_token)


def _lines(paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    found = False
    for path in paths:
        try:
            with path.open(encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        found = True
                        yield f"{path}, line {number}", line
        except OSError as error:
            raise ParameterError(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ParameterError(f"{path}: is not UTF-8") from None
    if not found:
        raise ParameterError(f"{paths[0]}: holds no example")


def _checked(kind: type[Example], line: str, where: str) -> Example:
    try:
        return kind.model_validate(json.loads(line))
    except json.JSONDecodeError as error:
        raise ParameterError(f"{where}: this is not JSON: {error}") from None
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"]))
        raise ParameterError(f"{where}: {field or 'the line'}: {fault['msg']}") from None
