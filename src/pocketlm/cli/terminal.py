"""Reading messages at a terminal: line editing, history, several lines, completion of commands.

It knows keys; it does not know what a message or a command does.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.shortcuts import CompleteStyle

_QUOTES = '"""'


class Prompt:
    """Asks for messages."""

    def __init__(self, commands: Mapping[str, str], history: Path) -> None:
        """Complete `commands` (name to what it does); keep what is typed in the file `history`."""
        self._session: PromptSession[str] = PromptSession(
            history=_history(history),
            completer=_Commands(commands),
            complete_while_typing=True,
            complete_style=CompleteStyle.COLUMN,
            key_bindings=_keys(),
            multiline=Condition(self._goes_on),
            prompt_continuation="... ",
            # An empty buffer's Ctrl-D leaves; Ctrl-C empties the line.
            enable_open_in_editor=False,
        )

    def _goes_on(self) -> bool:
        """Whether Enter begins a new line: after an opening triple quote, until the closing one."""
        return is_open(self._session.default_buffer.text)

    def ask(self) -> str:
        """The next message. Raises EOFError for Ctrl-D, KeyboardInterrupt for Ctrl-C."""
        return unquoted(self._session.prompt(">>> "))


def is_open(text: str) -> bool:
    """Whether `text` begins with a triple quote that is not closed yet."""
    text = text.strip()
    return text.startswith(_QUOTES) and not (len(text) >= 6 and text.endswith(_QUOTES))


def unquoted(text: str) -> str:
    """A message without the triple quotes round it, and without blanks at its ends."""
    text = text.strip()
    if text.startswith(_QUOTES):
        text = text.removeprefix(_QUOTES).removesuffix(_QUOTES).strip("\n")
    return text


def _history(path: Path) -> History:
    """Lines typed in earlier chats; kept in memory alone where the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


class _Commands(Completer):
    """Completes a line that begins with a slash."""

    def __init__(self, commands: Mapping[str, str]) -> None:
        self._commands = commands

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        """The commands that begin as what was typed."""
        typed = document.text_before_cursor
        for name, what in self._commands.items():
            if typed.startswith("/") and name.startswith(typed):
                yield Completion(name, start_position=-len(typed), display_meta=what)
