"""A conversation under way: messages answered and kept, and the commands that begin with a slash.

It knows a model, a conversation and its history. It does not know whether a person or a file
speaks.
"""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlm.chat.conversation import Conversation, room
from pocketlm.cli.answer import Answer, say
from pocketlm.cli.looking import Looking
from pocketlm.cli.output import Status, Writer, printable
from pocketlm.errors import HistoryError, ParameterError

if TYPE_CHECKING:
    from pocketlm.api import Generation, Model
    from pocketlm.chat.history import History
    from pocketlm.chat.prompt import Message
    from pocketlm.cli.tongue import Tongue
    from pocketlm.cli.tools import Tools

#: Seconds between two savings of an answer that is being written.
_SAVE_EVERY = 1.0


class Leave(Exception):  # noqa: N818 (not an error)
    """The person wants to go."""


class Talk:
    """One conversation with one model."""

    def __init__(
        self,
        model: "Model",
        name: str,
        history: "History",
        sampling: Mapping[str, Any],
        tools: "Tools | None",
        looking: Looking,
        tongue: "Tongue | None" = None,
    ) -> None:
        """Begin a new conversation. `name` is the model's; `sampling` goes to every answer.

        A `tongue` chooses by each message which adapter answers.
        """
        self.model = model
        self.name = name
        self.conversation = Conversation()
        self.history = history
        self.sampling = sampling
        self.tools = tools
        self.looking = looking
        self.tongue = tongue
        self._last: Generation | None = None

    def hear(self, text: str) -> Answer | None:
        """Do what was said: a command, or a message to answer. Raises Leave or pocketlm.Error."""
        if text.startswith("/"):
            return self._command(text)
        if self.tongue is not None:
            self.tongue.hear(text)
        self.conversation.add_user(text)
        return self._answer()

    def resume(self, number: int) -> None:
        """Go on with an earlier conversation, whose end is shown."""
        fingerprint = self.model.tokenizer.fingerprint
        self.conversation = self.history.load(number, fingerprint=fingerprint)
        if self.tongue is not None:
            for message in self.conversation.messages:
                if message["role"] == "user":
                    self.tongue.hear(str(message["content"]), quiet=True)
        self._replay()

    def _replay(self, turns: int = 2) -> None:
        said = [
            message
            for message in self.conversation.messages
            if message["role"] in ("user", "assistant") and message["content"]
        ]
        for message in said[-2 * turns :]:
            writer = Writer(sys.stdout)
            writer.write(">>> " if message["role"] == "user" else "")
            writer.write(str(message["content"]))
            writer.finish()

    def _answer(self) -> Answer | None:
        said = [str(m["content"]) for m in self.conversation.messages if m["role"] == "user"]
        question = self.looking.question(said)
        if question is not None:
            self._look_up(question)
            return None
        conversation, model = self.conversation, self.model
        window = model.context - room(model.context, self.sampling.get("max_tokens"))
        try:
            fit = conversation.fit(window, self._tokens)
        except BaseException:  # too long, or Ctrl-C: it is as if it had not been said
            conversation.drop_turn()
            raise
        if fit.dropped:
            turns = "turn was" if fit.dropped == 1 else f"{fit.dropped} turns were"
            Status().note(
                f"the context of {model.context:,} tokens is full: the oldest {turns} dropped"
                " from what the model sees"
            )
        self._save()
        answer = self._written() if self.tools is None else self._turned(self.tools)
        self._last = answer.generation
        if not answer.generation.tokens:
            Status().note("no answer; the message is forgotten")
        return answer

    def _look_up(self, question: str) -> None:
        """Answer from sources. A question that could not be looked up is as if not asked."""
        try:
            with Status() as status:
                text = self.looking.find(self.model, question, status)
        except BaseException:
            self.conversation.drop_turn()
            raise
        writer = Writer(sys.stdout)
        writer.write(text)
        writer.finish()
        self.conversation.update_assistant(text)
        self._save()

    def _written(self) -> Answer:
        """Let the model answer, and keep what there is of it while it grows."""
        from pocketlm.engine.sampling import SamplingParameters

        ids = self._tokens(self.conversation.prompt_messages())
        parameters = SamplingParameters.of(self.sampling)
        stream = self.model.answer(ids, parameters, chat=True)
        keep = _seldom(lambda: self._keep(stream.generation))
        try:
            return say(stream, each=keep)
        finally:
            self._keep(stream.generation)

    def _turned(self, tools: "Tools") -> Answer:
        """Let the model answer with tools. Calls and results are kept as messages, too."""
        from pocketlm.cli.tools import say as say_turn

        begin = len(self.conversation.messages)
        turn = tools.turn(self.model, self.conversation.prompt_messages(), self.sampling)

        def keep() -> None:
            self.conversation.messages[begin:] = turn.said
            self._save()

        try:
            return say_turn(turn, each=_seldom(keep))
        finally:
            if turn.said:
                keep()
            else:
                self.conversation.drop_turn()
                self._save()

    def _tokens(self, messages: "list[Message]") -> list[int]:
        """The ids of the prompt that these messages make."""
        from pocketlm.chat.tools import Toolbox, prepared

        tools = None
        if self.tools is not None:
            tools = Toolbox([skill.tool for skill in self.tools.skills])
        told, described = prepared(messages, tools, self.model.template.source)
        return self.model.prompt_tokens(told, described)

    def _keep(self, generation: "Generation") -> None:
        """Put what there is of the answer into the conversation, and save that.

        A message that got none is taken back, so that turns alternate, as templates want it.
        """
        if not generation.tokens:
            self.conversation.drop_turn()
        else:
            # Where a stop string may have ended it, the ids say more than the text.
            cut = bool(self.model.template.stop_strings) and generation.finish_reason == "stop"
            self.conversation.update_assistant(generation.text, None if cut else generation.tokens)
        self._save()

    def _save(self) -> None:
        if not self.conversation.messages and self.conversation.id is not None:
            self.history.delete(self.conversation.id)
            self.conversation.reset()
        fingerprint = self.model.tokenizer.fingerprint
        self.history.save(self.conversation, model=self.name, fingerprint=fingerprint)

    # Commands

    def _command(self, text: str) -> Answer | None:
        name, _, argument = text.partition(" ")
        if name not in COMMANDS:
            raise ParameterError(f"there is no command {name}; /help lists those there are")
        act = COMMANDS[name][2]
        return act(self, argument.strip())

    def _help(self, _: str) -> None:
        from pocketlm.cli.output import table

        print(table((f"{name} {argument}", what) for name, (argument, what, _) in COMMANDS.items()))
        print('Enter sends; Alt-Enter, or """ … """, makes several lines; Ctrl-C stops an answer.')

    def _system(self, text: str) -> None:
        if text:
            self.conversation.set_system(text)
        print(printable(self.conversation.system or "no system prompt"))

    def _reset(self, _: str) -> None:
        self.conversation.reset()
        print("a new conversation")

    def _tools(self, _: str) -> None:
        from pocketlm.cli.output import table

        if self.tools is None:
            print("no tools are on; begin with --tools NAMES (see `pocketlm chat --help`)")
            return
        rows = [
            (skill.tool.name, "asks first" if skill.effects else "", skill.tool.description)
            for skill in self.tools.skills
        ]
        print(table(rows))

    def _search(self, names: str) -> None:
        if names:
            self.looking.use(names)
        found = ", ".join(self.looking.names)
        print(f"questions are looked up in {found}" if found else "nothing is looked up")

    def _regenerate(self, _: str) -> Answer | None:
        self.conversation.drop_answer()
        return self._answer()

    def _save_as(self, name: str) -> None:
        if not self.conversation.messages:
            raise ParameterError("there is nothing to save yet")
        if not name:
            raise ParameterError("say a name, or a file: /save NAME, /save FILE.json")
        if _is_file(name):
            path = Path(name).expanduser()
            _write(path, self.conversation.to_json())
            print(f"written to {printable(str(path))}")
            return
        self.conversation.title = name
        self._save()
        print(f"saved as {printable(name)}")

    def _load(self, name: str) -> None:
        if not name:
            raise ParameterError("say which: /load NAME, /load NUMBER, /load FILE.json")
        if _is_file(name):
            try:
                text = Path(name).expanduser().read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise HistoryError(f"cannot read {name}: {error}") from error
            self.conversation = Conversation.from_json(text)
        else:
            self.resume(self.history.find(name))
            return
        self._replay()

    def _stats(self, _: str) -> None:
        from pocketlm.cli.output import size, table

        last = self._last
        if last is None:
            raise ParameterError("nothing was answered yet")
        times, context = last.timings, self.model.context
        read = last.prompt_tokens - last.cached_tokens
        used = last.prompt_tokens + last.completion_tokens
        writing = _rate(last.completion_tokens - 1, times.generation_s)
        cache = self.model.engine.runtime.cache
        rows = [
            ("model", f"{self.name}, loaded in {times.load_s:.2f} s"),
            (
                "prompt",
                f"{last.prompt_tokens:,} tokens, {last.cached_tokens:,} of them in the cache",
            ),
            ("reading", f"{times.prompt_s:.2f} s, {_rate(read, times.prompt_s)}"),
            ("first token", f"after {times.first_token_s:.2f} s"),
            (
                "answer",
                f"{last.completion_tokens:,} tokens, ended by {last.finish_reason or 'you'}",
            ),
            ("writing", f"{times.generation_s:.2f} s, {writing}"),
            ("context", f"{used:,} of {context:,} tokens"),
        ]
        rows.append(("cache", f"{size(cache.blocks_in_use * cache.block_bytes)} in use"))
        if self.conversation.dropped:
            rows.append(("dropped", f"the oldest {self.conversation.dropped} turns"))
        print(table(rows))

    def _bye(self, _: str) -> None:
        raise Leave


_Act = Callable[[Talk, str], Answer | None]
#: Name: what it takes, what it does, how.
COMMANDS: Mapping[str, tuple[str, str, _Act]] = {
    "/system": ("[TEXT]", "show or set the system prompt", Talk._system),
    "/reset": ("", "begin a new conversation; the system prompt stays", Talk._reset),
    "/regenerate": ("", "answer the last message again", Talk._regenerate),
    "/save": ("NAME", "name the conversation, or write it to a .json file", Talk._save_as),
    "/load": ("NAME", "go on with an earlier one: a name, a number or a .json file", Talk._load),
    "/search": ("[LIST]", "look questions up in docs, wiki, web; or off", Talk._search),
    "/tools": ("", "list the tools that the model may call", Talk._tools),
    "/stats": ("", "tokens and times of the last answer", Talk._stats),
    "/help": ("", "list the commands", Talk._help),
    "/bye": ("", "leave", Talk._bye),
}


def _seldom(act: Callable[[], None]) -> Callable[[], None]:
    """A function that does `act` once in a while, however often it is called."""
    done = time.monotonic()

    def once() -> None:
        nonlocal done
        if time.monotonic() - done > _SAVE_EVERY:
            act()
            done = time.monotonic()

    return once


def _is_file(name: str) -> bool:
    return name.endswith(".json") or "/" in name


def _write(path: Path, text: str) -> None:
    """Write a file beside its place and rename it there: it is never half there."""
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise HistoryError(f"cannot write {path}: {error.strerror}") from error


def _rate(tokens: int, seconds: float) -> str:
    return f"{tokens / seconds:.1f} tokens a second" if tokens > 0 and seconds > 0 else "at once"
