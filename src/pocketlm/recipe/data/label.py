"""`pocketlm data label`: how much documents teach, 0 to 5, by a larger model or a person.

The sample is the documents whose identities hash lowest: fair, the same each time, and a larger
sample contains a smaller one, so that labels that are there are never lost. It knows documents and
labels; what is learnt from them is `classifier`'s matter.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import xxhash
from datatrove.data import Document

from pocketlm import ledger
from pocketlm.errors import ParameterError
from pocketlm.ledger import Ledger
from pocketlm.progress import Progress
from pocketlm.recipe.data import spool
from pocketlm.recipe.data.build import STATE
from pocketlm.recipe.data.endpoint import Asked, Endpoint
from pocketlm.recipe.data.plan import DOCUMENTS
from pocketlm.recipe.data.prompts import prompt, version
from pocketlm.recipe.data.readers import LinesReader

RUBRIC = "educational-1"
READ = 3_000
"""Characters of a document that are judged."""
_SCORE = re.compile(r"score\W{1,6}([0-5])\b", re.IGNORECASE)

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Label:
    """A document's text (its first characters) and its points."""

    id: str
    text: str
    score: int


def by_model(
    documents: Path, out: Path, sample: int, ask: Endpoint, parallel: int, tell: Tell
) -> tuple[int, int]:
    """Have a model label `sample` of the `documents`; labels go into the file `out`.

    Labels that are there already are kept. Returns how many are there, and how many answers had no
    score. Raises EndpointError where the endpoint goes away: what was answered is kept.
    """
    chosen = sampled(documents, sample)
    with Ledger(out, {"rubric": version(RUBRIC), "by": ask.model}) as kept:
        left = [doc for doc in chosen if doc.id not in kept]
        progress = Progress(tell, "labels", len(chosen), len(chosen) - len(left))
        wanted = ((doc, Asked(_prompt(doc))) for doc in left)
        for doc, answer in ask.ask_all(wanted, parallel):
            kept[doc.id] = _entry(doc, score_of(answer.text), answer.text)
            progress.advance()
        scores = [kept[doc.id]["score"] for doc in chosen]
    return len(scores), scores.count(None)


def by_person(
    documents: Path, out: Path, sample: int, judge: Callable[[str, int, int], int | None]
) -> int:
    """Have a person label: `judge` gets a text, its number and how many there are, and scores it.

    None ends it. Returns how many labels are there.
    """
    chosen = sampled(documents, sample)
    with Ledger(out, {"rubric": version(RUBRIC), "by": "person"}) as kept:
        for number, doc in enumerate(chosen, 1):
            if doc.id in kept:
                continue
            score = judge(doc.text[:READ], number, len(chosen))
            if score is None:
                break
            kept[doc.id] = _entry(doc, score, "")
        return len(kept)


def read_labels(path: Path) -> list[Label]:
    """The labels of a file, those without a score left out. Raises ParameterError for no such."""
    try:
        return [
            Label(value["id"], value["text"], value["score"])
            for value in ledger.values(path)
            if value["score"] is not None
        ]
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise ParameterError(f"{path}: is no file of `pocketlm data label`") from None


def score_of(answer: str) -> int | None:
    """The points that an answer ends with; None where it says none."""
    found = _SCORE.findall(answer)
    return int(found[-1]) if found else None


def sampled(documents: Path, sample: int) -> list[Document]:
    """The documents of a build, a folder or a file that hash lowest, in that order.

    Raises ParameterError where there are none.
    """
    chosen = heapq.nsmallest(sample, documents_of(documents), key=_place)
    if not chosen:
        raise ParameterError(
            f"{documents}: has no documents: a build, or lines of JSON with `text`"
        )
    return chosen


def documents_of(path: Path) -> Iterator[Document]:
    """The documents of a build's folder; of a folder of, or a file of, lines of JSON."""
    if (path / STATE).exists():
        yield from spool.documents(path / DOCUMENTS)
    elif path.is_dir():
        files = sorted(each.relative_to(path).as_posix() for each in path.rglob("*.jsonl*"))
        yield from LinesReader(path, files, path.name).run()
    elif path.exists():
        yield from LinesReader(path.parent, [path.name], path.stem).run()
    else:
        raise ParameterError(f"{path}: is not there")


def _place(doc: Document) -> tuple[int, str]:
    return xxhash.xxh64_intdigest(doc.id.encode()), doc.id


def _prompt(doc: Document) -> str:
    return prompt(RUBRIC).replace("{text}", doc.text[:READ])


def _entry(doc: Document, score: int | None, said: str) -> dict[str, str | int | None]:
    return {"id": doc.id, "text": doc.text[:READ], "score": score, "said": said}
