"""Looking things up in a conversation at the terminal: in which sources, and how it is shown."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pocketlm.api import Model
    from pocketlm.assistant.index.ranking import Ranker
    from pocketlm.cli.output import Status

Wanted = Annotated[
    str | None,
    typer.Option(
        "--search",
        metavar="LIST",
        help="Look questions up in these, with commas: docs, wiki, web (see `pocketlm ask`).",
    ),
]


class Looking:
    """Where a conversation's questions are looked up; with no `names`, nowhere."""

    def __init__(self, names: str | None, home: Path) -> None:
        """Raises ParameterError for a source that there is not."""
        self.names: list[str] = []
        self._home = home
        if names is not None:
            self.use(names)

    def use(self, names: str) -> None:
        """Look up in these from now on, or with "off" nowhere."""
        from pocketlm.assistant.sources import named

        self.names = [] if names.lower() == "off" else named(names)

    def question(self, said: list[str]) -> str | None:
        """What is to be looked up of what a person said; None where it is to be answered as is."""
        if not self.names:
            return None
        from pocketlm.assistant.deciding import question_of

        return question_of(said)

    def find(self, model: "Model", question: str, status: "Status") -> str:
        """The answer with its sources, as Markdown. Raises Error where no source could be asked."""
        from pocketlm.assistant.asking import Asker
        from pocketlm.assistant.citing import as_markdown, escaped
        from pocketlm.assistant.reading import choice
        from pocketlm.assistant.sources import open_sources

        with open_sources(self.names, self._home, self._ranker) as sources:
            freely = choice.measured(model, self._home, status.show).freely
            asker = Asker(model, sources, self._ranker, freely=freely)
            answer = asker.ask(question, status.show)
        return as_markdown(answer, answer.text if freely else escaped(answer.text))

    @cached_property
    def _ranker(self) -> "Ranker":
        from pocketlm.assistant.index.ranking import Ranker

        return Ranker.installed()
