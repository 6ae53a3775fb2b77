"""All that can be searched, by name: indexed documents, encyclopedias, the web.

Joins them; knows neither how one is searched nor what becomes of the passages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pocketlm.assistant.index.documents import Documents
from pocketlm.assistant.index.ranking import Ranker
from pocketlm.assistant.passage import Source
from pocketlm.assistant.wiki import Wiki
from pocketlm.errors import ParameterError

NAMES = ("docs", "wiki", "web")
#: What is searched where nothing is said: what lies on this machine.
LOCAL = ("docs", "wiki")


def named(text: str) -> list[str]:
    """The sources of a list with commas ("docs,wiki"). Raises ParameterError for any other."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in NAMES:
            raise ParameterError(f"there is no source {name[:80]!r}; there are {', '.join(NAMES)}")
    if not names:
        raise ParameterError(f"name at least one source: {', '.join(NAMES)}")
    return list(dict.fromkeys(names))


@contextmanager
def open_sources(
    names: Sequence[str], home: Path, ranker: Ranker, *, searxng: str | None = None
) -> Iterator[list[Source]]:
    """The sources of these names, under pocketlm's `home`, as long as the block lasts.

    Raises ParameterError for a name that none has, or a `searxng` that is no URL.
    """
    with ExitStack() as stack:
        found: list[Source] = []
        for name in named(",".join(names)):
            match name:
                case "docs":
                    found.append(Documents(home, ranker))
                case "wiki":
                    wiki = Wiki(home, ranker)
                    stack.callback(wiki.close)
                    found.append(wiki)
                case "web":
                    from pocketlm.assistant.web.web import Web

                    found.append(stack.enter_context(Web(searxng, home=home, ranker=ranker)))
        yield found
