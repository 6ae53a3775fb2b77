"""From messages to the token ids of a prompt, so that no content can steer the model.

Knows chat templates and tokenizers; runs neither a model nor a conversation.

A template writes control tokens (`<|user|>`, `<|end|>`) and contents into one text. Tokenised as
usual, a content that spells a control token becomes one. Tokenised apart, template text and content
lose the tokens that span both, and the ids are no longer those that the model was trained with. So:

1. In all that the caller gives, each character with which a control token could be spelled is
   replaced by a stand-in: a private-use character, drawn at random for the call. One character
   stays one character, so a template that trims, cuts, compares or counts contents does as always.
2. The template renders. Whatever now spells a control token, the template wrote.
3. The text is cut at those alone. In each run between two of them, template text and contents
   joined, the stand-ins become again what they stood for, and the run is tokenised whole, as plain
   text (`Tokenizer.encode_run`).

A second rendering, with a mark in the place of each content, tells which contents a template leaves
out: the first Phi-3 template drops the system prompt without a word. It then goes into the first
user turn; any other loss is an error.

The ids of an answer that the model generated are used as they are: its content is rendered as a
mark, and the ids take the mark's place.
"""

import functools
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NotRequired, Required, TypedDict

from pocketlm.chat.template import ChatTemplate, RefusalError
from pocketlm.errors import ParameterError, TemplateError
from pocketlm.formats.tokenizer import Tokenizer

#: Roles that templates know. A role is written between the brackets of a control token, so it is
#: never taken from outside unchecked.
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function", "ipython"})
_SYSTEM = ("system", "developer")

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_PRIVATE_USE = range(0x100000, 0x10FFFE)


class Message(TypedDict, total=False):
    """A turn, or the system prompt.

    `tokens` are the ids that the model generated for an assistant's message; they are used as they
    are, and `content` for display alone. Other keys (`tool_calls`, `name`, …) go to the template.
    """

    role: Required[str]
    content: Required[str | Sequence[Mapping[str, str]] | None]
    tokens: NotRequired[Sequence[int]]
    name: NotRequired[str]
    tool_calls: NotRequired[Sequence[Mapping[str, Any]]]
    tool_call_id: NotRequired[str]
    tools: NotRequired[str]


def chat_tokens(
    template: ChatTemplate,
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = True,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> list[int]:
    """The token ids of a conversation, BOS once where the tokenizer or the template wants it.

    Raises TemplateError when the template cannot render the messages or would leave one out,
    ParameterError for messages that are none.
    """
    plain = [_checked(message, tokenizer) for message in messages]
    try:
        return _Prompt(template, tokenizer, plain, add_generation_prompt, tools).ids()
    except _LossError as loss:
        if loss.role not in _SYSTEM:
            raise
    except RefusalError:
        if not any(message["role"] in _SYSTEM for message in plain):
            raise
    folded = _folded(plain)
    return _Prompt(template, tokenizer, folded, add_generation_prompt, tools).ids()


def chat_text(
    template: ChatTemplate,
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    *,
    add_generation_prompt: bool = True,
) -> str:
    """The text of a conversation whose contents are trusted: they may spell control tokens.

    System prompts that the template refuses or leaves out go into the user's turn. Raises
    TemplateError.
    """

    def render(messages: Sequence[Mapping[str, Any]]) -> str:
        return template.render(
            messages,
            add_generation_prompt=add_generation_prompt,
            variables=_special_tokens(tokenizer),
        )

    system = [message["content"].strip() for message in messages if message["role"] in _SYSTEM]
    with suppress(*([RefusalError] if system else [])):
        text = render(messages)
        if all(content in text for content in system):
            return text
    return render(_folded([dict(message) for message in messages]))


def stop_ids(
    tokenizer: Tokenizer, template: ChatTemplate | None, generation_config: Mapping[str, Any]
) -> frozenset[int]:
    """The tokens at which an answer ends.

    They are EOS, the end-of-turn tokens known by name, those that `generation_config` lists, and
    the one that the template writes after an answer. A GGUF file names one of them alone: Phi-3's
    says `<|endoftext|>`, and the model ends its turns with `<|end|>`.
    """
    listed = generation_config.get("eos_token_id")
    ids = set(tokenizer.eot_ids)
    ids.update(id for id in (listed if isinstance(listed, list) else [listed]) if type(id) is int)
    if tokenizer.eos_id is not None:
        ids.add(tokenizer.eos_id)
    if template is not None:
        ids.update(_end_of_answer(tokenizer, template))
    return frozenset(id for id in ids if 0 <= id < tokenizer.vocab_size)


def _end_of_answer(tokenizer: Tokenizer, template: ChatTemplate) -> Iterator[int]:
    question, answer = _mark(), _mark()
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    try:
        text = template.render(messages, variables=_special_tokens(tokenizer))
    except TemplateError:
        return
    _, found, rest = text.rpartition(answer)
    following = tokenizer.split(rest) if found else []
    yield from [piece for piece in following if isinstance(piece, int)][:1]


class _LossError(TemplateError):
    """The template leaves a message out."""

    def __init__(self, role: str) -> None:
        super().__init__(f"the chat template leaves out or cuts messages of the role {role!r}")
        self.role = role


class _Prompt:
    """One rendering: messages with stand-ins and marks, and what these stand for."""

    def __init__(
        self,
        template: ChatTemplate,
        tokenizer: Tokenizer,
        messages: Sequence[dict[str, Any]],
        add_generation_prompt: bool,
        tools: Sequence[Mapping[str, Any]] | None,
    ) -> None:
        self._template = template
        self._tokenizer = tokenizer
        self._messages = messages
        self._add_generation_prompt = add_generation_prompt
        self._tools = tools
        self._generated: dict[str, Sequence[int]] = {}

    def ids(self) -> list[int]:
        """Render, check that nothing was lost, and tokenise."""
        stand_ins = self._stand_ins()
        table = str.maketrans(stand_ins)
        messages = [self._without_ids(message) for message in self._messages]
        messages = [{**_replaced(each, table), "role": each["role"]} for each in messages]
        self._tools = _replaced(self._tools, table)
        text = self._render(messages)
        self._check_complete(messages, text)
        back = {ord(stand_in): char for char, stand_in in stand_ins.items()}
        ids = self._tokens(text, back)
        bos = self._tokenizer.bos_id
        if bos is not None and self._tokenizer.add_bos:
            while ids[:1] == [bos]:
                del ids[0]
            ids.insert(0, bos)
        return ids

    def _render(self, messages: Sequence[dict[str, Any]]) -> str:
        return self._template.render(
            messages,
            add_generation_prompt=self._add_generation_prompt,
            tools=self._tools,
            variables=_special_tokens(self._tokenizer),
        )

    def _stand_ins(self) -> dict[str, str]:
        """A private-use character that occurs nowhere, for each that can spell a control token."""
        try:
            given = json.dumps([self._messages, self._tools], ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            raise ParameterError("messages and tools must hold what JSON can, no deeper") from None
        found: dict[str, str] = {}
        for char in _characters(self._tokenizer.control):
            stand_in = ""
            while not stand_in or stand_in in given or stand_in in self._template.source:
                stand_in = chr(secrets.choice(_PRIVATE_USE))
            found[char] = stand_in
        return found

    def _without_ids(self, message: dict[str, Any]) -> dict[str, Any]:
        """The message as templates know it, with a mark for a content whose ids are known."""
        tokens = message.get("tokens")
        message = {key: value for key, value in message.items() if key != "tokens"}
        if tokens:
            mark = _mark()
            self._generated[mark] = tokens
            message["content"] = mark
        return message

    def _check_complete(self, messages: Sequence[dict[str, Any]], text: str) -> None:
        """Raise _LossError for the first message whose content is not in what was rendered.

        The contents are rendered once more as marks, which must come back, in whatever case of
        letters. A template may look at an answer before it shows it; so what is no system prompt
        and lost its mark is lost only if it is not found in the text either. Words beside a tool
        call may go.
        """
        marks = [_mark() if _is_shown(message) else None for message in messages]
        marked = [
            message if mark is None else {**message, "content": mark}
            for message, mark in zip(messages, marks, strict=True)
        ]
        seen = self._render(marked).lower()
        for message, mark in zip(messages, marks, strict=True):
            if mark is not None and mark not in seen:
                role, content = message["role"], message["content"].strip()
                if role in _SYSTEM or content not in text:
                    raise _LossError(role)

    def _tokens(self, text: str, back: Mapping[int, str]) -> list[int]:
        """Cut at the control tokens, and tokenise what is between them."""
        ids: list[int] = []
        pieces = self._tokenizer.split(text)
        for index, piece in enumerate(pieces):
            if isinstance(piece, int):
                ids.append(piece)
            else:
                before = pieces[index + 1] if index + 1 < len(pieces) else None
                assert not isinstance(before, str)
                self._add_run(ids, piece, back, before)
        return ids

    def _add_run(
        self, ids: list[int], text: str, back: Mapping[int, str], before: int | None
    ) -> None:
        """Tokenise one run after `ids`; marks in it become the ids that they stand for."""
        marks = re.compile(f"({'|'.join(self._generated)})") if self._generated else None
        parts = marks.split(text) if marks is not None else [text]
        closed = False
        for place, part in enumerate(parts):
            last = place == len(parts) - 1
            if place % 2:
                generated = self._generated[part]
                if before is not None and place == len(parts) - 2:
                    # The template closes the turn; if the model did so too, it is closed once.
                    closed = generated[-1] in self._ends
                    generated = generated[:-1] if closed else generated
                ids += generated
            elif not (closed and not part.strip()):
                if not last:
                    part = part.removesuffix(self._surplus)
                after = ids[-1] if ids else None
                ids += self._tokenizer.encode_run(
                    part.translate(back), after=after, before=before if last else None
                )

    @functools.cached_property
    def _ends(self) -> frozenset[int | None]:
        return self._tokenizer.eot_ids | {self._tokenizer.eos_id}

    @functools.cached_property
    def _surplus(self) -> str:
        """What the template writes before an answer and not before one that is still to come.

        Llama 2's writes `[/INST]`, and `[/INST] ` before an answer: the space of the answer's first
        token, which its ids have already.
        """
        question, answer = _mark(), _mark()
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        variables = _special_tokens(self._tokenizer)
        try:
            asked = self._template.render(
                messages[:1], add_generation_prompt=True, variables=variables
            )
            answered = self._template.render(messages, variables=variables)
        except TemplateError:
            return ""
        opening = asked.rpartition(question)[2]
        written = answered.partition(answer)[0].rpartition(question)[2]
        surplus = written.removeprefix(opening)
        return surplus if written.startswith(opening) and not surplus.strip() else ""


def _checked(message: Message, tokenizer: Tokenizer) -> dict[str, Any]:
    """A copy of the message with its content as one text. Raises ParameterError."""
    if not isinstance(message, Mapping):
        raise ParameterError(f"a message is {type(message).__name__}, expected a dictionary")
    copy: dict[str, Any] = dict(message)
    if copy.get("role") not in ROLES:
        raise ParameterError(
            f"a message has the role {str(copy.get('role'))[:40]!r}; known are "
            + ", ".join(sorted(ROLES))
        )
    content = copy.get("content")
    if isinstance(content, list | tuple):
        copy["content"] = "".join(_text_of(part) for part in content)
    elif content is None:
        copy["content"] = ""
    elif not isinstance(content, str):
        raise ParameterError(f"a message's content is {type(content).__name__}, expected a text")
    tokens = copy.get("tokens")
    if tokens is not None:
        if copy["role"] != "assistant":
            raise ParameterError("only an assistant's message carries the tokens it was made of")
        if not all(type(id) is int and 0 <= id < tokenizer.vocab_size for id in tokens):
            raise ParameterError("a message's tokens are not ids of this model's vocabulary")
        copy["tokens"] = list(tokens)
    return copy


def _text_of(part: object) -> str:
    text = part.get("text") if isinstance(part, Mapping) else part
    if not isinstance(text, str):
        raise ParameterError("a message's content has parts that are not text")
    return text


def _is_shown(message: Mapping[str, Any]) -> bool:
    return bool(message["content"].strip()) and not message.get("tool_calls")


def _folded(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """System prompts put before the text of the user turn that follows, in one turn with it."""
    folded: list[dict[str, Any]] = []
    waiting: list[str] = []
    for message in messages:
        if message["role"] in _SYSTEM:
            if _is_shown(message):
                waiting.append(message["content"])
        elif waiting and message["role"] == "user":
            content = "\n\n".join([*waiting, message["content"]])
            folded.append({**message, "content": content})
            waiting = []
        else:
            folded.append(message)
    if waiting:
        folded.append({"role": "user", "content": "\n\n".join(waiting)})
    return folded


def _special_tokens(tokenizer: Tokenizer) -> dict[str, str]:
    """The variables by which templates write a vocabulary's own tokens."""
    ids = {
        "bos_token": tokenizer.bos_id,
        "eos_token": tokenizer.eos_id,
        "pad_token": tokenizer.pad_id,
        "unk_token": tokenizer.unk_id,
    }
    return {name: tokenizer.spelling(id) for name, id in ids.items() if id is not None}


def _characters(spellings: Mapping[str, int]) -> set[str]:
    """Characters of which each spelling has one: brackets where it has any."""
    found: set[str] = set()
    for spelling in spellings:
        if not found.intersection(spelling):
            brackets = [char for char in spelling if not char.isalnum()]
            found.add((brackets or list(spelling))[0])
    return found


def _replaced(value: Any, table: dict[int, str]) -> Any:  # noqa: ANN401
    """A JSON value with characters of all its texts, keys included, replaced."""
    if isinstance(value, str):
        return value.translate(table)
    if isinstance(value, Mapping):
        return {_replaced(key, table): _replaced(item, table) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(item, table) for item in value]
    return value


def _mark() -> str:
    """Twenty-four letters that nobody can guess."""
    return "".join(secrets.choice(_LETTERS) for _ in range(24))
