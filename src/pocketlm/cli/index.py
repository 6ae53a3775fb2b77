"""`pocketlm index`: documents and offline encyclopedias that answers are looked up in."""

import json as json_format
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pocketlm.assistant.index.index import Index
    from pocketlm.assistant.index.update import Report

app = typer.Typer(
    help="Index your documents, and search them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_SOURCE_HELP = "A folder or file that was added; see `pocketlm index list`."
#: Most files that cannot be read, or not all of it, that are named one by one.
_MOST_NAMED = 20


@app.command()
def add(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Folders, files, or a .zim.")],
) -> None:
    """Add folders, files and offline encyclopedias (Kiwix .zim) to what is searched.

    Read are text, Markdown, HTML, PDF, EPUB and source code. Hidden files, links and what programs
    made (node_modules, environments, caches) are passed over. Adding again reads only what is new
    or changed; what was interrupted goes on where it was.

    \b
    Examples:
      pocketlm index add ~/Documents ~/notes.md
      pocketlm index add wikipedia_en_simple_all_nopic.zim
    """
    with _opened() as index, _Looking() as looking:
        for path in paths:
            for report in index.add(path, looking):
                looking.tell(report)


@app.command()
def refresh(
    source: Annotated[
        Path | None, typer.Argument(metavar="SOURCE", help=f"{_SOURCE_HELP} Without it: all.")
    ] = None,
) -> None:
    """Read what is new or changed, and forget what is gone.

    \b
    Examples:
      pocketlm index refresh
      pocketlm index refresh ~/Documents
    """
    with _opened() as index, _Looking() as looking:
        for report in index.refresh(source, looking):
            looking.tell(report)


@app.command()
def rm(source: Annotated[Path, typer.Argument(metavar="SOURCE", help=_SOURCE_HELP)]) -> None:
    """Forget a source. The files themselves stay where they are.

    \b
    Example:
      pocketlm index rm ~/Documents
    """
    from pocketlm.cli.output import printable

    with _opened() as index:
        entry = index.remove(source)
    print(printable(f"forgot {entry.path}"))


@app.command("list")
def list_sources(json: Json = False) -> None:
    """List what was added.

    \b
    Examples:
      pocketlm index list
      pocketlm index list --json
    """
    from pocketlm.cli.output import table

    with _opened() as index:
        sources, problems = index.sources(), index.problems()
    if json:
        found = [entry._asdict() for entry in sources]
        told = [{"path": path, "problem": problem} for path, problem in problems]
        print(json_format.dumps({"sources": found, "problems": told}, indent=1))
        return
    if not sources:
        print("nothing is indexed yet; add documents with `pocketlm index add PATH`")
        return
    rows = [("source", "files", "passages", "")]
    for entry in sources:
        counts = ("", "") if entry.kind == "zim" else (f"{entry.files:,}", f"{entry.passages:,}")
        about = ["an encyclopedia"] if entry.kind == "zim" else []
        if entry.problems:
            about.append(f"{entry.problems:,} could not be read (--json names them)")
        if not entry.complete:
            about.append("interrupted; `pocketlm index refresh` goes on")
        rows.append((entry.path, *counts, "; ".join(about)))
    print(table(rows))


@app.command()
def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Words, or a question.")],
    count: Annotated[
        int, typer.Option("--count", metavar="N", min=1, max=100, help="How many passages.")
    ] = 5,
    sources: Annotated[
        str, typer.Option("--sources", metavar="NAMES", help="Of docs, wiki and web, with commas.")
    ] = "docs,wiki",
    json: Json = False,
) -> None:
    """Show the passages that fit best.

    \b
    Examples:
      pocketlm index search "when does the warranty end"
      pocketlm index search tides --sources wiki --count 3
      pocketlm index search "cache type" --json
    """
    from pocketlm.assistant import together
    from pocketlm.assistant.index.ranking import Ranker
    from pocketlm.assistant.sources import named, open_sources
    from pocketlm.cli.output import printable
    from pocketlm.store.store import default_home

    ranker = Ranker.installed()
    with open_sources(named(sources), default_home(), ranker) as there:
        found = together.search(there, query, count, ranker)
    if json:
        rows = [
            {"source": p.source, "title": p.title, "text": p.text, "score": p.score} for p in found
        ]
        print(json_format.dumps(rows, indent=1, ensure_ascii=False))
        return
    if not found:
        print("nothing was found")
    for number, passage in enumerate(found, 1):
        print(printable(f"[{number}] {passage.title}  ({passage.source})"))
        print(printable(passage.text) + "\n")


def _opened() -> "Index":
    from pocketlm.assistant.index.index import Index
    from pocketlm.store.store import default_home

    return Index.open(default_home())


class _Looking:
    """What is told while files are read, and afterwards."""

    def __init__(self) -> None:
        from pocketlm.cli.output import Status

        self._status = Status()
        self._count = 0
        self._next = 0.0

    def __enter__(self) -> "_Looking":
        return self

    def __exit__(self, *_: object) -> None:
        self._status.clear()

    def __call__(self, path: str) -> None:
        """A file is looked at."""
        self._count += 1
        if time.monotonic() > self._next:
            self._status.show(f"{self._count:,} files; {path}")
            self._next = time.monotonic() + 0.1

    def tell(self, report: "Report") -> None:
        """What came of a source: problems on standard error, the sum on standard output."""
        from pocketlm.cli.output import printable

        for path, reason in (report.problems + report.notes)[:_MOST_NAMED]:
            self._status.note(f"{path}: {reason}")
        more = len(report.problems) + len(report.notes) - _MOST_NAMED
        if more > 0:
            self._status.note(f"and {more:,} more; see `pocketlm index list --json`")
        self._status.clear()
        counts = {
            "added": report.added,
            "changed": report.changed,
            "gone": report.removed,
            "as before": report.same,
            "of these duplicates": report.duplicates,
            "not readable": len(report.problems),
        }
        said = [f"{count:,} {what}" for what, count in counts.items() if count]
        said += [f"passed over {count:,} ({what})" for what, count in report.skipped.items()]
        print(printable(f"{report.path}: {', '.join(said) or 'no file'}"))
