"""The tool `search`: passages of documents, an encyclopedia or the web, numbered.

Knows sources by what they promise (`passage.py`); what they find is data and is handed on as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pocketlm.assistant.passage import Passage, Source
from pocketlm.assistant.tools.skill import Skill
from pocketlm.chat.tools import Tool

MOST_CHARACTERS = 300
#: Passages that are told of, from all sources together.
COUNT = 3


def skills(sources: Sequence[Source], *, name: str = "search", remote: bool = False) -> list[Skill]:
    """The tool, called `name`.

    With `remote`, a question leaves this machine: that is an effect, and a person is asked first.
    """
    names = [source.name for source in sources]
    query = {"type": "string", "minLength": 1, "maxLength": MOST_CHARACTERS}
    properties: dict[str, Any] = {"query": query}
    if len(names) > 1:
        properties["source"] = {"enum": names, "description": "where to search; all if left out"}
    tool = Tool(
        name,
        f"Searches {', '.join(names)} and returns the best passages.",
        {"properties": properties, "required": ["query"]},
    )

    def run(arguments: Mapping[str, Any]) -> str:
        wanted = arguments.get("source")
        asked = [source for source in sources if wanted in (None, source.name)]
        found = [list(source.search(arguments["query"], COUNT)) for source in asked]
        # The best of each source, then the second best: scores of two sources say nothing together.
        turns = [[hits[rank] for hits in found if rank < len(hits)] for rank in range(COUNT)]
        return numbered([passage for turn in turns for passage in turn][:COUNT])

    return [Skill(tool, run, effects=remote)]


def numbered(passages: Sequence[Passage]) -> str:
    """Passages as text: "[1] title (source)", then what they say."""
    if not passages:
        return "Nothing was found."
    return "\n\n".join(
        f"[{number}] {_line(passage.title)} ({_line(passage.source)})\n{passage.text.strip()}"
        for number, passage in enumerate(passages, 1)
    )


def _line(text: str) -> str:
    return " ".join(text.split())
