"""A question answered from passages, each statement with its source; or "I could not find this".

    search (sources) → passages → read → answer with numbered citations

Knows sources and readers. It does not know how either works, nor who asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import Any

from pocketlm.api import Model
from pocketlm.assistant.index.ranking import Ranker
from pocketlm.assistant.passage import Passage, Source
from pocketlm.assistant.reading.confidence import LEAST, Evidence, probability
from pocketlm.assistant.reading.extraction import Extractor, Phrase
from pocketlm.assistant.reading.free import answer_freely
from pocketlm.assistant.reading.support import best_support
from pocketlm.assistant.reading.words import Text
from pocketlm.errors import ContextError, Error, NotIndexedError

NOT_FOUND = "I could not find this."
#: How many passages are read by extraction, one by one, and freely, all at once.
READ, READ_FREELY = 5, 3
#: Longer passages are cut into parts, in characters: a small model reads short ones best.
MOST_CHARACTERS = 1500


@dataclass(frozen=True)
class Citation:
    """A passage that an answer rests on: `[number]` in its text.

    `quote` is what the passage says of it, and `supported` whether that was verified.
    """

    number: int
    passage: Passage
    quote: str
    supported: bool


@dataclass(frozen=True)
class Answer:
    """`found` says whether the passages hold an answer; `text` says it, or that it was not found.

    `passages` are those that were read; `problems` are sources that could not be asked, and why.
    """

    text: str
    found: bool
    citations: Sequence[Citation] = ()
    passages: Sequence[Passage] = ()
    problems: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """As programs get it."""
        citations = [
            {
                "number": citation.number,
                "source": citation.passage.source,
                "title": citation.passage.title,
                "passage": citation.passage.text,
                "quote": citation.quote,
                "supported": citation.supported,
            }
            for citation in self.citations
        ]
        return {
            "answer": self.text,
            "found": self.found,
            "citations": citations,
            "problems": [*self.problems],
        }


class Asker:
    """Answers questions from sources. `freely` lets the model write in its own words."""

    def __init__(
        self, model: Model, sources: Sequence[Source], ranker: Ranker, *, freely: bool = False
    ) -> None:
        """Nothing is asked yet. `ranker` orders the passages of several sources."""
        self._model = model
        self._sources = sources
        self._ranker = ranker
        self._freely = freely
        self._extractor = Extractor(model)

    def ask(self, question: str, tell: Callable[[str], None] = lambda _: None) -> Answer:
        """Search, read, and answer; `tell` hears what is being done.

        Raises Error where no source could be asked, and ContextError for a question that is too
        long.
        """
        passages, problems = self._search(question, tell)
        if not passages:
            return Answer(NOT_FOUND, found=False, problems=problems)
        count = min(len(passages), READ_FREELY if self._freely else READ)
        passages = passages[:count]
        tell(f"reading {count} passage{'s' * (count > 1)}")
        read = self._read_freely if self._freely else self._extract
        return replace(read(question, passages), passages=passages, problems=problems)

    def _search(
        self, question: str, tell: Callable[[str], None]
    ) -> tuple[list[Passage], list[str]]:
        """The best passages of all sources together, and what went wrong with some."""
        found: list[Passage] = []
        problems: dict[str, Error] = {}
        for source in self._sources:
            tell(f"searching {source.name}")
            try:
                found += source.search(question, READ)
            except Error as error:
                problems[source.name] = error
        if len(problems) == len(self._sources):
            raise next(iter(problems.values()))
        if len(self._sources) - len(problems) > 1:  # scores of different sources do not compare
            found = self._ranker.best(question, found, READ)
        passages = [replace(each, text=part) for each in found for part in parts(each.text)]
        told = [
            f"{name}: {error}"
            for name, error in problems.items()
            if not isinstance(error, NotIndexedError)  # nothing was added there: that is no fault
        ]
        return passages, told

    def _extract(self, question: str, passages: Sequence[Passage]) -> Answer:
        """The phrase that most likely answers, if it is likely enough."""
        best: tuple[float, Passage, Phrase] | None = None
        remembered = self._extractor.remembered(question).strip(" .").lower()
        for rank, passage in enumerate(passages):
            phrase = self._extractor.read(question, passage.text)
            if phrase is None:
                continue
            agrees = remembered == phrase.text.strip(" .").lower()
            likely = probability(Evidence(phrase.score, rank, agrees))
            if best is None or likely > best[0]:
                best = likely, passage, phrase
        if best is None or best[0] < LEAST:
            return Answer(NOT_FOUND, found=False)
        _, passage, phrase = best
        quote = next(
            sentence for sentence in Text(passage.text).sentences if phrase.text in sentence
        )
        citation = Citation(1, passage, quote, supported=True)  # it is the passage's own words
        return Answer(f"{phrase.text} [1]", found=True, citations=[citation])

    def _read_freely(self, question: str, passages: Sequence[Passage]) -> Answer:
        """What the model writes, each sentence with the passage that supports it."""
        while True:
            try:
                text = answer_freely(self._model, question, [p.text for p in passages])
                break
            except ContextError:
                if len(passages) == 1:
                    raise
                passages = passages[:-1]
        if text is None:
            return Answer(NOT_FOUND, found=False)
        citations: dict[int, Citation] = {}
        written = []
        for sentence in Text(_unnumbered(text)).sentences:
            place = best_support(sentence, [p.text for p in passages])
            if place is None:
                written.append(f"{sentence} [unsupported]")
                continue
            number = citations[place].number if place in citations else len(citations) + 1
            citations[place] = Citation(number, passages[place], sentence, supported=True)
            written.append(f"{sentence} [{number}]")
        return Answer(" ".join(written), found=bool(citations), citations=[*citations.values()])


def parts(text: str) -> list[str]:
    """A text cut at ends of sentences into parts of at most `MOST_CHARACTERS`, where it has any."""
    if len(text) <= MOST_CHARACTERS:
        return [text]
    found: list[str] = []
    for sentence in Text(text).sentences:
        for piece in wrap(sentence, MOST_CHARACTERS):
            if found and len(found[-1]) + len(piece) < MOST_CHARACTERS:
                found[-1] += f" {piece}"
            else:
                found.append(piece)
    return found


def _unnumbered(text: str) -> str:
    """Without what a model wrote as citations of its own: ours are verified."""
    return re.sub(r"\s*\[\d+\]", "", text)
