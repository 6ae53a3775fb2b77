"""The file of `pocketlm data synthesize`: which documents are wanted, of what, and by whom written.

It knows fields and their limits, and reads the lists and prompts that the file names. It asks no
model. Paths are taken from the file's folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationInfo,
    model_validator,
)

from pocketlm.recipe import yaml_file
from pocketlm.recipe.data import recipe
from pocketlm.recipe.data.recipe import Count, Place, Share, Strict
from pocketlm.recipe.data.synthesis.problems import PROBLEMS

AUDIENCES = (
    "a curious child of ten",
    "a pupil of fifteen",
    "a first-year university student",
    "an adult who returns to learning after many years",
)
STYLES = (
    "plain and exact, one thought after another",
    "built around one everyday example that is carried through",
    "as a good teacher speaks, with a question now and then that is answered at once",
    "lively, beginning with something surprising",
)
_PLACE: TypeAdapter[Path] = TypeAdapter(Place)


def _from_file(value: object, info: ValidationInfo) -> object:
    """The lines of the file that a text names, but for comments (`#`); a list as it stands."""
    if not isinstance(value, str):
        return value
    path = _PLACE.validate_python(value, context=info.context)
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not a text file in UTF-8") from None
    return tuple(line for line in lines if not line.lstrip().startswith("#"))


def _several(value: tuple[str, ...]) -> tuple[str, ...]:
    """Lines without needless space, none empty, each once."""
    found = tuple(" ".join(line.split()) for line in value if line.strip())
    if not found:
        raise ValueError("names nothing")
    if len(set(found)) < len(found):
        twice = next(line for line in found if found.count(line) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return found


Lines = Annotated[tuple[str, ...], BeforeValidator(_from_file), AfterValidator(_several)]
"""A list, or a file with one thing a line."""


class _Kind(Strict):
    share: Annotated[float, Field(gt=0)] = 1
    """Of all that is wanted; shares need not add up to 1."""
    prompt: Place | None = None
    """A prompt of one's own."""
    topics: Lines | None = None
    audiences: Lines | None = None
    styles: Lines | None = None
    """Of this kind alone, in place of those for all."""


class Textbook(_Kind):
    """Sections of textbooks."""

    kind: Literal["textbook"]
    words: tuple[Count, Count] = (300, 600)
    """How long a section is asked to be; one of less than half the first is dropped."""


class Exercise(_Kind):
    """Exercises with worked answers, whose arithmetic is checked."""

    kind: Literal["exercise"]


class Dialogue(_Kind):
    """Conversations between a user and an assistant."""

    kind: Literal["dialogue"]
    exchanges: tuple[Count, Count] = (2, 4)
    """How many questions with their answers: from, to."""


class Reasoning(_Kind):
    """Problems drawn by a program, which knows their answers."""

    kind: Literal["reasoning"]
    problems: Annotated[tuple[str, ...], Field(min_length=1)] = tuple(PROBLEMS)

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.problems:
            if name not in PROBLEMS:
                raise ValueError(f"problems: {name!r} is none of {', '.join(PROBLEMS)}")
        return self


KindPlan = Annotated[Textbook | Exercise | Dialogue | Reasoning, Field(discriminator="kind")]


class Sampling(Strict):
    """How answers are drawn."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.9
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    most_tokens: Count = 1500
    """Of an answer; one that is not finished by then is dropped."""


class Price(Strict):
    """Dollars for a million tokens."""

    prompt: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    completion: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class EndpointPlan(Strict):
    """Who writes."""

    url: str | None = None
    model: str | None = None
    """Without one, the first that the endpoint has."""
    parallel: Annotated[int, Field(ge=1, le=256)] = 4
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 600
    """Longest time for one answer; a slow machine that writes several at once may need more."""
    price: Price | None = None


class QualityPlan(Strict):
    """What a classifier made by `pocketlm data classifier` must find worth learning from."""

    classifier: Place
    least: Share = 0.5


class NearDuplicates(Strict):
    """Which documents are too alike: as the stage `near-duplicates` of `data build`."""

    words: Count = 5
    buckets: Count = 14
    hashes: Count = 8

    @property
    def step(self) -> recipe.NearDuplicates:
        """The stage."""
        return recipe.NearDuplicates(stage="near-duplicates", **self.model_dump())


class Plan(Strict):
    """The whole file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")]
    seed: int = 0
    documents: Count | None = None
    tokens: Count | None = None
    """How many are wanted, of one or the other; tokens as the endpoint counts what it writes."""
    topics: Lines
    audiences: Lines = AUDIENCES
    styles: Lines = STYLES
    kinds: Annotated[tuple[KindPlan, ...], Field(min_length=1)]
    sampling: Sampling = Sampling()
    endpoint: EndpointPlan = EndpointPlan()
    quality: QualityPlan | None = None
    near_duplicates: NearDuplicates = NearDuplicates()
    least_kept: Annotated[float, Field(gt=0, le=1)] = 0.1
    """A kind of which fewer answers are fit, of 20 or more, is given up."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.documents is None) == (self.tokens is None):
            raise ValueError("say how many documents are wanted, or how many tokens: one of both")
        names = [kind.kind for kind in self.kinds]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"kinds: {name} is there twice")
        for kind in self.kinds:
            bounds = getattr(kind, "words", None) or getattr(kind, "exchanges", None)
            if bounds and bounds[0] > bounds[1]:
                raise ValueError(f"kinds: {kind.kind}: {bounds[0]} is more than {bounds[1]}")
        return self

    def wanted(self) -> dict[str, int]:
        """How many documents, or tokens, of each kind: shares rounded so that the sum is exact."""
        total = self.documents or self.tokens or 0
        whole = sum(kind.share for kind in self.kinds)
        exact: dict[str, float] = {kind.kind: total * kind.share / whole for kind in self.kinds}
        found = {name: int(value) for name, value in exact.items()}
        by_rest = sorted(exact, key=lambda name: found[name] - exact[name])
        for name in by_rest[: total - sum(found.values())]:
            found[name] += 1
        return found


def read(path: Path) -> Plan:
    """Read a plan. Raises ParameterError that names the line and the field."""
    return yaml_file.read(path, Plan)
