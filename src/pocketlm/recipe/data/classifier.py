"""How likely a document is worth learning from: a linear classifier, fitted on labels.

On wordllama's embeddings (few labels suffice; English above all) or on hashed words and pairs of
words (any language with spaces; wants thousands of labels). Kept as numbers and JSON, never as a
pickle. What it is worth is measured on labels that it was not fitted on, and kept beside it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pocketlm.errors import Error, ParameterError
from pocketlm.formats.output import new_folder
from pocketlm.recipe.data.label import READ, Label

if TYPE_CHECKING:
    from pocketlm.assistant.embedder import Embedder

Features = Literal["embeddings", "words"]
Floats = npt.NDArray[np.float64]
_WORDS = 1 << 16
_EMBEDDED = 256
_HELD_OUT = 4
"""One label of so many is held out."""
_LEAST = 10
"""Labels of each kind that are needed."""
_BINS = 5


class ClassifierError(Error):
    """A classifier is missing or damaged, or labels do not suffice for one."""


class Bin(BaseModel):
    """Held-out documents that were given about the same probability."""

    predicted: float
    observed: float
    documents: int


class Point(BaseModel):
    """What a lowest probability keeps of the held-out documents."""

    least: float
    precision: float
    recall: float
    kept: float


class Worth(BaseModel):
    """Measured on held-out labels; intervals are 95 % (Wilson)."""

    documents: int
    positive: int
    precision: float
    precision_interval: tuple[float, float]
    recall: float
    recall_interval: tuple[float, float]
    f1: float
    average_precision: float
    brier: float
    brier_of_base_rate: float
    """Of saying the share of positives of every document: a classifier must be below it."""
    calibration: list[Bin]
    curve: list[Point]


class About(BaseModel):
    """What stands beside the numbers."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    features: Features
    score: Annotated[int, Field(ge=1, le=5)]
    """A document with so many points is worth learning from."""
    characters: int = READ
    fitted_on: int
    labels_sha256: str
    worth: Worth


class Classifier:
    """Texts to probabilities."""

    def __init__(self, about: About, weights: npt.NDArray[np.float32], bias: float) -> None:
        """By `weights` of the features that `about` names."""
        self.about, self._weights, self._bias = about, weights, bias

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """The probability of each text to be worth learning from."""
        cut = [text[: self.about.characters] for text in texts]
        return _sigmoid(_dot(self.about.features, cut, self._weights) + self._bias)

    def save(self, folder: Path) -> None:
        """Write `classifier.json` and `weights.npz`."""
        with new_folder(folder) as new:
            (new / "classifier.json").write_text(self.about.model_dump_json(indent=1) + "\n")
            with (new / "weights.npz").open("wb") as file:
                np.savez_compressed(file, weights=self._weights, bias=np.float64(self._bias))

    @classmethod
    def load(cls, folder: Path) -> Classifier:
        """Read what `save` wrote. Raises ClassifierError for what is missing or damaged."""
        try:
            about = About.model_validate_json((folder / "classifier.json").read_bytes())
            with np.load(folder / "weights.npz", allow_pickle=False) as held:
                weights, bias = held["weights"], float(held["bias"])
        except FileNotFoundError as error:
            raise ClassifierError(f"{error.filename}: is not there: no classifier") from None
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise ClassifierError(f"{folder}: a damaged classifier: {said}") from None
        if weights.shape != (_width(about.features),) or weights.dtype != np.float32:
            raise ClassifierError(f"{folder}: a damaged classifier: weights of another shape")
        if not (np.isfinite(weights).all() and np.isfinite(bias)):
            raise ClassifierError(f"{folder}: a damaged classifier: weights that are no numbers")
        return cls(about, weights, bias)


def fit(labels: Sequence[Label], score: int, features: Features) -> Classifier:
    """Fit on three labels of four, and measure on the fourth; which one, its text's hash decides.

    A label of `score` points or more is positive. Raises ClassifierError for too few of a kind.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    ordered = sorted(labels, key=lambda label: (label.text, label.id))
    once = list({label.text: label for label in ordered}.values())
    wanted = np.array([label.score >= score for label in once], bool)
    for kind, count in (("at least", int(wanted.sum())), ("less than", int((~wanted).sum()))):
        if count < _LEAST:
            raise ClassifierError(
                f"{count} labels have {kind} {score} points, and {_LEAST} are needed: "
                "label more documents, or choose another score"
            )
    held = _held_out(once, wanted)
    texts = [label.text[:READ] for label in once]
    matrix = _matrix(features, texts)
    search = GridSearchCV(
        LogisticRegression(
            solver="liblinear", dual=features == "words", max_iter=1000, random_state=0
        ),
        {"C": np.logspace(-1, 3, 5)},
        scoring="neg_log_loss",
        cv=5,
    )
    model = search.fit(matrix[~held], wanted[~held]).best_estimator_
    predicted = model.predict_proba(matrix[held])[:, 1]
    digest = hashlib.sha256(json.dumps([(each.text, each.score) for each in once]).encode())
    about = About(
        features=features,
        score=score,
        fitted_on=int((~held).sum()),
        labels_sha256=digest.hexdigest(),
        worth=_worth(predicted, wanted[held]),
    )
    return Classifier(about, model.coef_[0].astype(np.float32), float(model.intercept_[0]))


def _held_out(labels: Sequence[Label], wanted: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Of each kind, the part of the labels whose texts hash lowest."""
    order = [hashlib.sha256(label.text.encode("utf-8", "replace")).digest() for label in labels]
    held = np.zeros(len(labels), bool)
    for kind in (True, False):
        of_kind = sorted(np.flatnonzero(wanted == kind), key=lambda number: order[number])
        held[of_kind[: max(2, len(of_kind) // _HELD_OUT)]] = True
    return held


def _worth(predicted: Floats, truth: npt.NDArray[np.bool_]) -> Worth:
    from sklearn.metrics import average_precision_score

    kept = predicted >= 0.5
    hits, all_kept, positive = int((kept & truth).sum()), int(kept.sum()), int(truth.sum())
    precision = hits / all_kept if all_kept else 0.0
    recall = hits / positive
    base = truth.mean()
    return Worth(
        documents=len(truth),
        positive=positive,
        precision=precision,
        precision_interval=_wilson(hits, all_kept),
        recall=recall,
        recall_interval=_wilson(hits, positive),
        f1=2 * hits / (all_kept + positive),
        average_precision=float(average_precision_score(truth, predicted)),
        brier=float(((predicted - truth) ** 2).mean()),
        brier_of_base_rate=float(base * (1 - base)),
        calibration=_calibration(predicted, truth),
        curve=[_point(predicted, truth, least / 10) for least in range(1, 10)],
    )


def _calibration(predicted: Floats, truth: npt.NDArray[np.bool_]) -> list[Bin]:
    groups = np.array_split(np.argsort(predicted, kind="stable"), _BINS)
    return [
        Bin(
            predicted=float(predicted[group].mean()),
            observed=float(truth[group].mean()),
            documents=len(group),
        )
        for group in groups
        if len(group)
    ]


def _point(predicted: Floats, truth: npt.NDArray[np.bool_], least: float) -> Point:
    kept = predicted >= least
    hits = float((kept & truth).sum())
    return Point(
        least=least,
        precision=hits / kept.sum() if kept.any() else 0.0,
        recall=hits / float(truth.sum()),
        kept=float(kept.mean()),
    )


def _wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    if not of:
        return 0.0, 1.0
    z = 1.959964
    share = hits / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * (share * (1 - share) / of + z * z / (4 * of * of)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def _width(features: Features) -> int:
    return _EMBEDDED if features == "embeddings" else _WORDS


def _matrix(features: Features, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Features of texts: an array, or a sparse matrix that is used as one."""
    if features == "embeddings":
        return _embedder().embed(texts)
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(n_features=_WORDS, ngram_range=(1, 2), token_pattern=r"\w+")
    matrix: npt.NDArray[np.float32] = hashing.transform(texts)
    return matrix


def _dot(features: Features, texts: Sequence[str], weights: npt.NDArray[np.float32]) -> Floats:
    return np.asarray(_matrix(features, texts) @ weights, np.float64)


@functools.cache
def _embedder() -> Embedder:
    from pocketlm.assistant.embedder import Embedder

    return Embedder()


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))


def read_classifier(folder: Path) -> Classifier:
    """As `Classifier.load`, for a recipe's field."""
    try:
        return Classifier.load(folder)
    except ClassifierError as error:
        raise ParameterError(str(error)) from None
