"""The reader for small models: an answer is some words of the passage, or nothing.

A model of a few hundred million parameters, asked to answer from a passage, mostly writes something
else. But it tells, of words that are put before it, which fit best: so every answer here is a
phrase of the passage, by construction, and the model's likelihoods choose it together with plain
clues (`clues.py`). Knows models and passages' text; not where passages come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pocketlm.api import Model
from pocketlm.assistant.reading.clues import Clues, Finder, score
from pocketlm.assistant.reading.words import Text, Word

#: Most words of an answer, and how many places of a passage are tried as its beginning: the ones
#: that the model finds likeliest.
MOST_WORDS, STARTS = 8, 20

_EXAMPLES = """\
The harbour of Lowby was built between 1871 and 1874 by the engineer Ada Thorne. Its two piers are \
340 metres long.

Question: How long are the piers?
Answer: 340 metres

In spring the heron returns to the lake, where it builds its nest in the crowns of old alders.

Question: Where does the heron build its nest?
Answer: in the crowns of old alders

"""

#: The same form without passages.
_CLOSED = """\
Question: How many legs does a spider have?
Answer: eight

Question: Who wrote Romeo and Juliet?
Answer: William Shakespeare

"""

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Phrase:
    """Words of a passage: its characters `start` to `end`, and what speaks for them."""

    text: str
    start: int
    end: int
    clues: Clues

    @property
    def score(self) -> float:
        """How much speaks for it, beside other phrases."""
        return score(self.clues)


class Extractor:
    """Finds answers in passages, with one model."""

    def __init__(self, model: Model) -> None:
        """Nothing is computed yet."""
        self._model = model

    def read(self, question: str, passage: str) -> Phrase | None:
        """The phrase of `passage` that answers best; None where it has no words.

        Raises ContextError for a passage that does not fit the model's context.
        """
        return max(self.phrases(question, passage), key=lambda phrase: phrase.score, default=None)

    def phrases(self, question: str, passage: str) -> list[Phrase]:
        """All phrases that were weighed."""
        text = Text(passage)
        prefix = self._model.text_tokens(self.prompt(question, passage))
        engine = self._model.engine
        (first,) = engine.continued(prefix, [[]])
        starts = self._likeliest(first[0], text, prefix[-1])
        runs = [_run(text.words, start) for start in starts]
        texts = [" " + passage[run[0].start : run[-1].end] for run in runs]
        tokens = [self._model.tokenizer.encode_run(text, after=prefix[-1]) for text in texts]
        finder = Finder(question, text)
        found = []
        for start, run, ids, logits in zip(
            starts, runs, tokens, engine.continued(prefix, tokens), strict=True
        ):
            for count, size, phrase, end in self._weighed(passage, run, ids, logits):
                plain = finder.plain(start, start + count - 1)
                clues = Clues(phrase, end, float(count), float(size), *plain)
                place = run[0].start, run[count - 1].end
                found.append(Phrase(passage[slice(*place)], *place, clues))
        return found

    @staticmethod
    def prompt(question: str, passage: str) -> str:
        """What the model reads before an answer."""
        return f"{_EXAMPLES}{' '.join(passage.split())}\n\nQuestion: {question}\nAnswer:"

    def remembered(self, question: str) -> str:
        """What the model answers without a passage: a line."""
        prompt = f"{_CLOSED}Question: {question}\nAnswer:"
        answer = self._model.generate(prompt, max_tokens=2 * MOST_WORDS, stop=["\n"])
        return answer.text.strip()

    def _likeliest(self, logits: Logits, text: Text, after: int) -> list[int]:
        """The words that the model would likeliest begin an answer with, in the passage's order."""
        encode = self._model.tokenizer.encode_run
        likely = [
            (float(logits[encode(f" {text.text[word.start : word.end]}", after=after)[0]]), place)
            for place, word in enumerate(text.words)
            if word.stem
        ]
        return sorted(place for _, place in sorted(likely, reverse=True)[:STARTS])

    def _weighed(
        self, passage: str, run: Sequence[Word], ids: Sequence[int], logits: Logits
    ) -> Iterator[tuple[int, int, float, float]]:
        """For each beginning of a run that ends with a word and a token.

        Its words, its tokens, and the log-probabilities of it and of an end after it.
        """
        sums = _sums(logits)
        chosen = logits[np.arange(len(ids)), ids] - sums[:-1]
        likelihoods = np.concatenate([[0.0], np.cumsum(chosen)])
        ends = _sums(logits[:, self._ends]) - sums
        lengths = np.cumsum([len(self._model.tokenizer.token_bytes(id)) for id in ids]).tolist()
        sizes = {length: size for size, length in enumerate(lengths, start=1)}
        for count, word in enumerate(run, start=1):
            spelled = len(passage[run[0].start : word.end].encode()) + 1  # the blank before it
            size = sizes.get(spelled)
            if word.stem and size is not None:
                yield count, size, float(likelihoods[size]), float(ends[size])

    @cached_property
    def _ends(self) -> npt.NDArray[np.intp]:
        """Tokens that end an answer's line, or the text."""
        tokenizer = self._model.tokenizer
        ids = range(min(tokenizer.vocab_size, self._model.program.vocab_size))
        lines = {id for id in ids if tokenizer.token_bytes(id).startswith(b"\n")}
        return np.array(sorted(lines | self._model.stop_ids), dtype=np.intp)


def _run(words: Sequence[Word], start: int) -> list[Word]:
    """Up to `MOST_WORDS` words and marks from one on, within its sentence."""
    run = words[start : start + MOST_WORDS]
    return [word for word in run if word.sentence == run[0].sentence]


def _sums(logits: Logits) -> npt.NDArray[np.float64]:
    """ln of the sum of e to the power of each row's numbers."""
    top = logits.max(axis=-1)
    rest = np.exp(logits - top[:, None]).sum(axis=-1, dtype=np.float64)
    return np.asarray(top + np.log(rest))
