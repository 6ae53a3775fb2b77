"""The tools that come with pocketlm, by name; and those of others, which `extensions.py` opens.

Knows which modules offer tools and what each needs: a folder, a source, a sandbox.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pocketlm.assistant.tools.skill import Skill
from pocketlm.errors import Error, ParameterError

#: What may be asked for, and what for.
NAMES = {
    "calculator": "exact arithmetic with units and dates",
    "dates": "dates and times, and what time it is",
    "files": "reads text files in granted folders",
    "search": "searches what was indexed: documents, encyclopedias",
    "web": "searches the web; asks first",
    "python": "runs programs in a sandbox; asks first",
}
ALL = "all"


@contextmanager
def open_tools(
    wanted: Sequence[str],
    *,
    folders: Sequence[Path] = (),
    searxng: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[list[Skill]]:
    """The tools of these names, to be called as long as the block lasts.

    "all" is every one of NAMES and of `extensions.names` that can be had; what is left out is told
    with the reason. `folders` are those that may be read, `searxng` is a server that searches the
    web.

    Raises ParameterError for a name that there is not, and Error where one that was named cannot
    be had.
    """
    from pocketlm.assistant import extensions

    every = ALL in wanted
    others = [name for name in dict.fromkeys(wanted) if name not in NAMES and name != ALL]
    if unknown := [name for name in others if name not in extensions.names()]:
        known = ", ".join([*NAMES, *extensions.names(), ALL])
        raise ParameterError(f"there are no tools {unknown[0][:80]!r}; there are {known}")
    with ExitStack() as stack:
        found: list[Skill] = []
        for name in NAMES:
            if not every and name not in wanted:
                continue
            try:
                found += _built_in(name, folders, searxng, stack)
            except Error as error:
                if name in wanted:
                    raise
                tell(f"{name} is left out: {error}")
        if every or others:
            found += stack.enter_context(extensions.open_skills(None if every else others, tell))
        yield found


def _built_in(
    name: str, folders: Sequence[Path], searxng: str | None, stack: ExitStack
) -> list[Skill]:
    from pocketlm.assistant.tools import calculator, dates, files, python, search

    match name:
        case "calculator":
            return calculator.skills()
        case "dates":
            return dates.skills()
        case "files":
            if not folders:
                raise ParameterError("it needs a folder that may be read (--folder)")
            grants = files.Grants(folders)
            stack.callback(grants.close)
            return files.skills(grants)
        case "search" | "web":
            from pocketlm.assistant.index.ranking import Ranker
            from pocketlm.assistant.sources import LOCAL, open_sources
            from pocketlm.store.store import default_home

            remote = name == "web"
            sources = stack.enter_context(
                open_sources(
                    ["web"] if remote else LOCAL,
                    default_home(),
                    Ranker.installed(),
                    searxng=searxng,
                )
            )
            if remote:
                return search.skills(sources, name="search_web", remote=True)
            return search.skills(sources)
        case _:
            return python.skills()
