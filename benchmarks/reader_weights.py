"""The weights of the reader's clues, fitted on articles of XQuAD whose passages hold the answers.

Each question's phrases are weighed by the model and by clues; the weights are those of a softmax
over a question's phrases whose mass is to lie on the right ones. What they are worth is printed by
articles left out in turn, for the likelihoods alone, the clues alone, and both. The articles used
here are left out of `questions.py`.

    python benchmarks/reader_weights.py SmolLM2.gguf xquad.en.json --articles 8 --questions 250
"""

import argparse
import random
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

import pocketlm
from comparison.machine import processor
from pocketlm.assistant.index.ranking import Ranker
from pocketlm.assistant.passage import Passage
from pocketlm.assistant.reading.clues import Clues, matrix
from pocketlm.assistant.reading.confidence import Evidence
from pocketlm.assistant.reading.extraction import Extractor, Phrase
from questions.judging import exact, f1, normalised
from questions.reading import Question, read

Array = npt.NDArray[np.float64]
NAMES = [field.name for field in fields(Clues)]
LIKELIHOODS = ["phrase", "end"]


class Case:
    """One question's phrases: their clues, and how right each is."""

    def __init__(self, question: Question, phrases: Sequence[Phrase]) -> None:
        self.group = question.group
        self.clues = matrix([phrase.clues for phrase in phrases])
        self.exact = np.array([exact(phrase.text, question.answers) for phrase in phrases])
        self.f1 = np.array([f1(phrase.text, question.answers) for phrase in phrases])

    @property
    def target(self) -> Array | None:
        """Where the mass is to lie; None where no phrase is right enough."""
        worth = (0.8 * self.exact + 0.2 * self.f1) ** 2
        return worth / worth.sum() if worth.size and worth.max() > 0.02 else None


def fit(cases: Sequence[Case], used: Sequence[str], decay: float = 0.02) -> Array:
    """Weights of the clues `used`, 0 for others, by Newton's method; `decay` in standard units."""
    columns = [NAMES.index(name) for name in used]
    scale = np.concatenate([case.clues for case in cases]).std(axis=0)[columns] + 1e-9
    data = [(case.clues[:, columns] / scale, case.target) for case in cases]
    weights = np.zeros(len(columns))
    for _ in range(30):
        slope = 2 * decay * weights * len(data)
        curve = 2 * decay * np.eye(len(columns)) * len(data)
        for clues, target in data:
            if target is None:
                continue
            score = clues @ weights
            mass = np.exp(score - score.max())
            mass /= mass.sum()
            mean = mass @ clues
            slope -= (target - mass) @ clues
            curve += (clues * mass[:, None]).T @ clues - np.outer(mean, mean)
        weights -= np.linalg.solve(curve, slope)
    found = np.zeros(len(NAMES))
    found[columns] = weights / scale
    return found


def left_out(cases: Sequence[Case], used: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1 of each article, with weights of the others."""
    right = []
    for group in dict.fromkeys(case.group for case in cases):
        weights = fit([case for case in cases if case.group != group], used)
        for case in cases:
            if case.group == group and len(case.clues):
                best = int((case.clues @ weights).argmax())
                right.append((case.exact[best], case.f1[best]))
    mean = np.mean(right, axis=0)
    return float(mean[0]), float(mean[1])


class Found:
    """What the best phrases of the passages that a search found have going for them.

    `read` gives each passage's score, agreement with what the model remembers, and rightness.
    """

    def __init__(self, read: Mapping[str, tuple[float, ...]], passages: Sequence[str]) -> None:
        rows = [(read[passage], float(rank)) for rank, passage in enumerate(passages)]
        self.evidence = [
            astuple(Evidence(score, rank, agrees)) for (score, agrees, _), rank in rows
        ]
        self.exact = [right for (*_, right), _ in rows]

    def best(self, weights: Array) -> tuple[float, float]:
        """How likely the likeliest is right, and whether it is; where nothing was found, not."""
        if not self.evidence:
            return 0.0, 0.0
        likely = _sigmoid(np.array(self.evidence) @ weights[:-1] + weights[-1])
        place = int(likely.argmax())
        return float(likely[place]), self.exact[place]


def read_all(
    extractor: Extractor, question: Question, passages: Sequence[str]
) -> dict[str, tuple[float, ...]]:
    """What `Found` is made of."""
    remembered = normalised(extractor.remembered(question.text))
    found = {}
    for passage in passages:
        phrase = extractor.read(question.text, passage)
        assert phrase is not None
        agrees = float(normalised(phrase.text) == remembered)
        found[passage] = (phrase.score, agrees, exact(phrase.text, question.answers))
    return found


def logistic(found: Sequence[Found], used: Sequence[int], decay: float = 1.0) -> Array:
    """Weights of the evidence `used`, 0 for other, and the bias; by Newton's method."""
    rows = np.array([row for each in found for row in each.evidence])
    right = np.array([value for each in found for value in each.exact])
    columns = [*used, len(rows[0])]
    rows = np.column_stack([rows, np.ones(len(rows))])
    scale = np.where(np.arange(rows.shape[1]) == rows.shape[1] - 1, 1, rows.std(axis=0) + 1e-9)
    data = (rows / scale)[:, columns]
    weights = np.zeros(len(columns))
    for _ in range(30):
        likely = _sigmoid(data @ weights)
        slope = data.T @ (likely - right) + decay * weights
        curve = (data * (likely * (1 - likely))[:, None]).T @ data + decay * np.eye(len(columns))
        weights -= np.linalg.solve(curve, slope)
    every = np.zeros(rows.shape[1])
    every[columns] = weights / scale[columns]
    return every


def _sigmoid(values: Array) -> Array:
    return 1 / (1 + np.exp(-values))


def confidence(
    extractor: Extractor, chosen: Sequence[Question], passages: Sequence[str], read: int
) -> None:
    """Fit and print how likely phrases are right, with the passage there and taken away."""
    ranker = Ranker.installed()
    every = [Passage(str(place), "", text) for place, text in enumerate(passages)]
    there, away = [], []
    for question in chosen:
        ranked = [p.text for p in ranker.best(question.text, every, read + 1)]
        rest = [text for text in ranked if text != question.passage]
        seen = read_all(extractor, question, list(dict.fromkeys(ranked[:read] + rest[:read])))
        there.append(Found(seen, ranked[:read]))
        away.append(Found(seen, rest[:read]))
    names = [field.name for field in fields(Evidence)]
    for used in ([0], [0, 1], [0, 1, 2]):
        weights = logistic([*there, *away], used)
        known = np.array([each.best(weights) for each in there])
        unknown = np.array([each.best(weights)[0] for each in away])
        print(f"{[names[i] for i in used]}: {[round(float(w), 3) for w in weights]}")
        for least in (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4):
            said = known[:, 0] >= least
            print(
                f"  from {least:.2f} on: exact {(known[:, 1] * said).mean():.3f} of all, "
                f"{known[said, 1].mean() if said.any() else 0:.3f} of {said.mean():.2f} answered; "
                f"passage away: {(unknown < least).mean():.3f} not found"
            )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("questions", type=Path)
    parser.add_argument("--articles", type=int, default=8)
    parser.add_argument("--count", type=int, default=250)
    parser.add_argument("--read", type=int, default=5, help="passages read of those found")
    parser.add_argument(
        "--confidence", action="store_true", help="fit how likely answers are right, not clues"
    )
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    asked = read(args.questions)
    groups = list(dict.fromkeys(question.group for question in asked))[: args.articles]
    chosen = [question for question in asked if question.group in groups]
    random.Random(1).shuffle(chosen)
    chosen = chosen[: args.count]
    cases = []
    model = pocketlm.load(args.model, threads=args.threads)
    extractor = Extractor(model)
    if args.confidence:
        passages = list(dict.fromkeys(q.passage for q in asked if q.passage is not None))
        confidence(extractor, chosen, passages, args.read)
        return
    for question in chosen:
        assert question.passage is not None
        cases.append(Case(question, extractor.phrases(question.text, question.passage)))
    print(
        f"{processor()}, {Path(args.model).name}, {len(cases)} questions of {len(groups)} articles"
    )
    best = [(c.exact.max(initial=0), c.f1.max(initial=0)) for c in cases]
    print("the best phrase weighed: exact {:.3f}, F1 {:.3f}".format(*np.mean(best, axis=0)))
    plain = [name for name in NAMES if name not in LIKELIHOODS]
    for name, used in (("likelihoods", LIKELIHOODS), ("clues", plain), ("both", NAMES)):
        print("{}: exact {:.3f}, F1 {:.3f}".format(name, *left_out(cases, used)))
    for name, weight in zip(NAMES, fit(cases, NAMES), strict=True):
        print(f"    {name}={weight:.3f},")


if __name__ == "__main__":
    main()
