"""The sources on this machine: documents and encyclopedias, by their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pocketlm.assistant.index.documents import Documents
from pocketlm.assistant.index.ranking import Ranker
from pocketlm.assistant.passage import Passage, Source
from pocketlm.assistant.wiki import Wiki
from pocketlm.errors import NotIndexedError, ParameterError

_KINDS = {kind.name: kind for kind in (Documents, Wiki)}


def local_sources(home: Path, names: Sequence[str], ranker: Ranker) -> list[Source]:
    """The sources of these names under pocketlm's `home`. Raises ParameterError for others."""
    for name in names:
        if name not in _KINDS:
            raise ParameterError(f"there is no source {name!r}; there are {', '.join(_KINDS)}")
    return [_KINDS[name](home, ranker) for name in dict.fromkeys(names)]


def search(sources: Sequence[Source], query: str, count: int, ranker: Ranker) -> list[Passage]:
    """The `count` best passages of several sources together.

    Raises NotIndexedError where none of them has anything.
    """
    found: list[Passage] = []
    empty: list[NotIndexedError] = []
    for source in sources:
        try:
            found += source.search(query, count)
        except NotIndexedError as error:
            empty.append(error)
    if len(empty) == len(sources):
        raise empty[0]
    # Scores of different sources say nothing of each other.
    return found if len(sources) - len(empty) == 1 else ranker.best(query, found, count)
