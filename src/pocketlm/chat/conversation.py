"""What was said: a system prompt and turns, and which of them still fit into the context.

Knows messages alone. Runs no model, and keeps nothing on disk (`history.py` does).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pocketlm.chat.prompt import ROLES, Message
from pocketlm.errors import ContextError, HistoryError, ParameterError

_FORMAT = "pocketlm-conversation"
#: What a document calls those who speak.
_HEADINGS = {"user": "You", "assistant": "Answer", "tool": "Result"}
#: Tokens kept free for an answer, and the largest part of the context that this may be.
_ROOM, _PART = 512, 4


def room(context: int, max_tokens: int | None) -> int:
    """How many tokens of a context a prompt leaves free for an answer of up to `max_tokens`."""
    return min(_ROOM if max_tokens is None else max_tokens, max(context // _PART, 1))


@dataclass(frozen=True)
class Fit:
    """A prompt that fits: its token ids, and how many oldest turns were left out just now."""

    tokens: list[int]
    dropped: int


class Conversation:
    """A system prompt and messages in order.

    A turn is a user's message with all that follows it up to the next one. Turns are dropped from
    the prompt alone: `messages` keeps them, so that history and export lose nothing. `id` and
    `revision` belong to the history that keeps the conversation.
    """

    def __init__(self, system: str | None = None, messages: Sequence[Message] = ()) -> None:
        """Begin with a system prompt and messages, if any."""
        self.system = system
        self.messages: list[Message] = list(messages)
        self.title: str | None = None
        self.id: int | None = None
        self.revision = 0
        self._first_turn = 0

    def add_user(self, content: str) -> None:
        """The user said something."""
        self.messages.append({"role": "user", "content": content})

    def add_assistant(self, content: str, tokens: Sequence[int] | None = None) -> None:
        """The model answered, if only in part. `tokens` are the ids of the whole answer.

        Leave them out where the content is not their text (an answer cut at a stop string).
        """
        message: Message = {"role": "assistant", "content": content}
        if tokens is not None:
            message["tokens"] = list(tokens)
        self.messages.append(message)

    def update_assistant(self, content: str, tokens: Sequence[int] | None = None) -> None:
        """The answer grew: begin it, or replace what there is of it."""
        if self.messages and self.messages[-1]["role"] == "assistant":
            del self.messages[-1]
        self.add_assistant(content, tokens)

    def set_system(self, system: str | None) -> None:
        """Replace the system prompt, from the next answer on."""
        self.system = system or None

    def reset(self) -> None:
        """Forget what was said; the system prompt stays. What follows is a new conversation."""
        self.messages = []
        self.title = None
        self.id = None
        self.revision = 0
        self._first_turn = 0

    def drop_answer(self) -> None:
        """Take the last answer back, to generate it again.

        Raises ParameterError when nothing was asked yet.
        """
        last = max((i for i, m in enumerate(self.messages) if m["role"] == "user"), default=None)
        if last is None:
            raise ParameterError("there is no answer to generate again")
        del self.messages[last + 1 :]

    def drop_turn(self) -> None:
        """Take the last turn back, question and all (a question that could not be answered)."""
        if self._turns():
            del self.messages[self._turns()[-1] :]

    @property
    def dropped(self) -> int:
        """How many of the oldest turns no longer go into the prompt."""
        return min(self._first_turn, len(self._turns()))

    def prompt_messages(self) -> list[Message]:
        """What the model is told: the system prompt, and the turns that were not dropped."""
        return self._from_turn(self.dropped)

    def fit(self, window: int, tokenize: Callable[[list[Message]], list[int]]) -> Fit:
        """The ids of the prompt, without as many of the oldest turns as it takes to fit.

        `window` is how many tokens the prompt may have, and `tokenize` makes them. The system
        prompt and the last turn always stay; ContextError, with both numbers, when these alone are
        too long. Turns once dropped stay so, and what follows is found in the cache again.
        """
        begin = self.dropped
        tokens = tokenize(self._from_turn(begin))
        if len(tokens) <= window:
            return Fit(tokens, 0)
        low, high = begin + 1, max(len(self._turns()) - 1, begin)
        if low > high or len(tokens := tokenize(self._from_turn(high))) > window:
            raise ContextError(
                f"the prompt has {len(tokens)} tokens, and the context has room for {window}"
            )
        while low < high:  # the fewest turns: more turns are never fewer tokens
            middle = (low + high) // 2
            if len(shorter := tokenize(self._from_turn(middle))) <= window:
                high, tokens = middle, shorter
            else:
                low = middle + 1
        self._first_turn = high
        return Fit(tokens, high - begin)

    def to_json(self) -> str:
        """The conversation as a file for people and programs: no token ids."""
        messages = [
            {key: value for key, value in message.items() if key != "tokens"}
            for message in self.messages
        ]
        content = {
            "format": _FORMAT,
            "version": 1,
            "title": self.title,
            "system": self.system,
            "messages": messages,
        }
        return json.dumps(content, ensure_ascii=False, indent=1) + "\n"

    def to_markdown(self, title: str) -> str:
        """The conversation as a document: who spoke as headings, then what was said."""
        parts = [f"# {' '.join(title.split())}"]
        if self.system:
            parts += ["## System prompt", self.system.strip("\n")]
        for message in self.messages:
            who = _HEADINGS.get(message["role"], message["role"])
            calls = [
                f"{call['function']['name']} {json.dumps(call['function']['arguments'])}"
                for call in message.get("tool_calls", ())
            ]
            said = "\n\n".join(
                each for each in (str(message["content"]).strip("\n"), *calls) if each
            )
            parts += [f"## {who}", said]
        return "\n\n".join(parts) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Conversation":
        """The conversation that `to_json` wrote. Raises HistoryError for anything else."""
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            raise HistoryError("the file is not a conversation: it is not sound JSON") from None
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise HistoryError('the file is not a conversation: its "format" is missing')
        if content.get("version") != 1:
            raise HistoryError(
                f"the conversation has the version {content.get('version')!r}, not 1"
            )
        system, title = content.get("system"), content.get("title")
        messages = content.get("messages")
        if not isinstance(messages, list) or not all(map(_is_message, messages)):
            raise HistoryError("the conversation's messages are not all a known role and a text")
        if not isinstance(system, str | None) or not isinstance(title, str | None):
            raise HistoryError("the conversation's title or system prompt is not a text")
        conversation = cls(system, messages)
        conversation.title = title
        return conversation

    def _turns(self) -> list[int]:
        """Where each turn begins."""
        return [i for i, message in enumerate(self.messages) if message["role"] == "user"]

    def _from_turn(self, turn: int) -> list[Message]:
        turns = self._turns()
        start = turns[turn] if 0 < turn < len(turns) else 0
        system: list[Message] = []
        if self.system:
            system = [{"role": "system", "content": self.system}]
        return [*system, *self.messages[start:]]


def _is_message(message: object) -> bool:
    return (
        isinstance(message, dict)
        and isinstance(message.get("content"), str)
        and message.get("role") in ROLES
        and "tokens" not in message
        and isinstance(message.get("tool_calls", []), list)
        and all(map(_is_call, message.get("tool_calls", [])))
    )


def _is_call(call: object) -> bool:
    function = call.get("function") if isinstance(call, dict) else None
    return (
        isinstance(function, dict)
        and isinstance(function.get("name"), str)
        and isinstance(function.get("arguments"), dict)
    )
