"""`pocketlm ask`: an answer from your documents, an encyclopedia or the web, with its sources."""

import json as json_format
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlm.cli import options

if TYPE_CHECKING:
    from pocketlm.assistant.asking import Answer


class Reader(StrEnum):
    """How passages become an answer."""

    AUTO = "auto"
    EXTRACT = "extract"
    FREE = "free"


def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to find out.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="MODEL", help="Which model reads.")
    ] = None,
    sources: Annotated[
        str, typer.Option(metavar="LIST", help="Of docs, wiki and web, with commas.")
    ] = "docs,wiki",
    reader: Annotated[
        Reader,
        typer.Option(
            help="The answer's words: taken from a passage, or the model's own; auto measures which"
            " suits the model, once."
        ),
    ] = Reader.AUTO,
    searxng: options.Searxng = None,
    threads: options.Threads = None,
    lora: options.Lora = None,
    json: options.Json = False,
    offline: options.Offline = False,
) -> None:
    """Answer a question from what was indexed (`pocketlm index add`), with numbered sources.

    Where the passages that are found do not hold an answer, it says so. The web is asked only if
    --sources names it.

    \b
    Examples:
      pocketlm ask "When was the mill built?"
      pocketlm ask "How tall is Mount Kenya?" --sources wiki
      pocketlm ask "Who wrote the minutes?" --sources docs,web --json
    """
    from pocketlm.assistant.asking import Asker
    from pocketlm.assistant.index.ranking import Ranker
    from pocketlm.assistant.reading import choice
    from pocketlm.assistant.sources import named, open_sources
    from pocketlm.cli.answer import loaded
    from pocketlm.cli.output import Status
    from pocketlm.errors import ParameterError
    from pocketlm.store.store import default_home

    names = named(sources)
    if not question.strip():
        raise ParameterError('there is no question; ask one: pocketlm ask "When …?"')
    home, ranker = default_home(), Ranker.installed()
    with (
        open_sources(names, home, ranker, searxng=searxng) as opened,
        loaded(model, threads=threads, lora=options.loras(lora)) as reading,
        Status() as status,
    ):
        if reader is Reader.AUTO:
            freely = choice.measured(reading, home, status.show).freely
        else:
            freely = reader is Reader.FREE
        answer = Asker(reading, opened, ranker, freely=freely).ask(question, status.show)
        status.clear()
        for problem in answer.problems:
            status.note(problem)
    if json:
        print(json_format.dumps(answer.as_json(), ensure_ascii=False))
    else:
        _show(answer)


def _show(answer: "Answer") -> None:
    """The answer, and below it what each number stands for."""
    from pocketlm.cli.output import printable

    print(printable(answer.text))
    for citation in answer.citations:
        print()
        title = citation.passage.title
        place = citation.passage.source
        print(printable(f"[{citation.number}] {title + ', ' if title else ''}{place}"))
        print(printable(f"    “{' '.join(citation.quote.split())}”"))
