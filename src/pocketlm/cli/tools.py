"""Tools at the command line: which are on, who permits a call, and what is shown of it.

Answers go to standard output; what tools are asked and say, and questions to the person, go to
standard error.
"""

import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pocketlm.cli.answer import Answer
from pocketlm.cli.output import Status, Writer, printable

if TYPE_CHECKING:
    from pocketlm.api import Model
    from pocketlm.assistant.tools.skill import Skill
    from pocketlm.assistant.turn import Event, Turn
    from pocketlm.chat.prompt import Message

Wanted = Annotated[
    str | None,
    typer.Option(
        "--tools",
        metavar="NAMES",
        help="Tools that the model may call, with commas: calculator, dates, files, search, web,"
        " python, MCP servers and plugins by name, or all.",
    ),
]
Allowed = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="TOOL",
        help="A tool with effects (run_python, search_web, …) that need not ask; repeatable.",
    ),
]
Folders = Annotated[
    list[Path] | None,
    typer.Option("--folder", metavar="DIR", help="A folder that files may be read in; repeatable."),
]
_MOST_SHOWN = 300


class Tools:
    """The tools of a conversation, and what a person said of those that have effects."""

    def __init__(self, skills: "Sequence[Skill]", allowed: Collection[str]) -> None:
        """`allowed` are names of tools that need not ask."""
        self.skills = skills
        self._allowed = set(allowed)

    def turn(
        self, model: "Model", messages: "Sequence[Message]", sampling: Mapping[str, Any]
    ) -> "Turn":
        """A question to be answered with them."""
        from pocketlm.assistant.drafting import proposing
        from pocketlm.assistant.turn import Bounds, Turn, asking

        bounds = Bounds(result=min(Bounds.result, model.context))
        propose = proposing(model, [skill.tool.name for skill in self.skills])
        ask, form = asking(model, sampling), model.template.call_form
        return Turn(ask, messages, self.skills, self.permit, bounds, propose, form)

    def permit(self, skill: "Skill", arguments: Mapping[str, Any]) -> bool:
        """Whether a call may be made: a person says so, or said so before."""
        name = skill.tool.name
        if name in self._allowed:
            return True
        if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
            Status().note(f"{name} did not run: it has effects, and --allow {name} was not given")
            return False
        print(f"{name} would run with", file=sys.stderr)
        for argument, value in arguments.items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            print(printable(f"  {argument}: {text}"), file=sys.stderr)
        print("run it? [y]es, [a]lways, anything else is no: ", end="", file=sys.stderr, flush=True)
        said = sys.stdin.readline().strip().lower()
        if said in ("a", "always"):
            self._allowed.add(name)
        return said in ("y", "yes", "a", "always")


@contextmanager
def opened(
    wanted: str | None, folders: Sequence[Path] | None, allowed: Sequence[str] | None
) -> Iterator[Tools | None]:
    """The tools that the options ask for; None where they ask for none.

    Raises ParameterError for names that there are not.
    """
    from pocketlm.errors import ParameterError

    names = [name.strip() for name in (wanted or "").split(",") if name.strip()]
    if not names:
        if folders or allowed:
            raise ParameterError("--folder and --allow go with --tools")
        yield None
        return
    from pocketlm.assistant.tools.builtin import open_tools

    with open_tools(names, folders=folders or (), tell=Status().note) as skills:
        known = {skill.tool.name for skill in skills}
        for name in allowed or ():
            if name not in known:
                raise ParameterError(
                    f"--allow names {name!r}; these tools are {', '.join(sorted(known))}"
                )
        yield Tools(skills, allowed or ())


def say(turn: "Turn", *, quiet: bool = False, each: Callable[[], None] = lambda: None) -> Answer:
    """Show a turn as it goes, unless `quiet`; `each` is called after every event.

    Ctrl-C ends it; raises KeyboardInterrupt where the model had not even been asked by then.
    """
    interrupted = False
    with Status() as status:
        writer = None if quiet else Writer(sys.stdout)
        try:
            for event in turn:
                _show(event, status, writer)
                each()
        except KeyboardInterrupt:
            interrupted = True
        status.clear()
        if writer is not None:
            writer.finish()
    if turn.generation is None:
        raise KeyboardInterrupt
    return Answer(turn.generation, interrupted)


def _show(event: "Event", status: Status, writer: Writer | None) -> None:
    from pocketlm.assistant.turn import Called, Returned, Wrote

    if isinstance(event, Called):
        status.show(f"{event.call.name} {event.call.arguments}")
    elif isinstance(event, Returned):
        line = " ".join(f"{event.call.name} {event.call.arguments} → {event.result}".split())
        status.note(line if len(line) <= _MOST_SHOWN else f"{line[: _MOST_SHOWN - 1]}…")
    elif isinstance(event, Wrote):
        if event.piece.notice is not None:
            status.note(event.piece.notice)
        progress = event.piece.progress
        if progress is not None and progress.done < progress.total:
            status.show(f"reading the prompt: {progress.done:,} of {progress.total:,} tokens")
        if event.piece.text:
            status.clear()
            if writer is not None:
                writer.write(event.piece.text)
