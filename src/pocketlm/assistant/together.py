"""Several sources searched together, and the best of what they gave."""

from __future__ import annotations

from collections.abc import Sequence

from pocketlm.assistant.index.ranking import Ranker
from pocketlm.assistant.passage import Passage, Source
from pocketlm.errors import NotIndexedError


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
    if empty and len(empty) == len(sources):
        raise empty[0]
    # Scores of different sources say nothing of each other.
    return found if len(sources) - len(empty) == 1 else ranker.best(query, found, count)
