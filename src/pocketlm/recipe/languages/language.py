"""What making a model speak a language needs to know of it: a YAML file for each beside this one.

It knows fields and their limits. It opens no model and no text.
"""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pocketlm.errors import ParameterError
from pocketlm.recipe import yaml_file

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Strict(BaseModel):
    """A section of a file: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Identified(Strict):
    """How a document of the language is known: `codes` of lid.176, from a probability on."""

    codes: Annotated[tuple[str, ...], Field(min_length=1)]
    least: Share


class AdapterTraining(Strict):
    """Continued pretraining of an adapter on all projections."""

    rank: Count
    alpha: Count
    peak: Rate


class WholeTraining(Strict):
    """Continued pretraining of all weights."""

    peak: Rate


class ConversationTraining(Strict):
    """Fine-tuning on conversations after it."""

    epochs: Rate
    peak: Rate


class Training(Strict):
    """Rates and sizes; how long it takes is decided by the text."""

    adapter: AdapterTraining
    whole: WholeTraining
    conversations: ConversationTraining


class Language(Strict):
    """A language's file."""

    code: Annotated[str, Field(pattern="^[a-z]{2,3}$")]
    """ISO 639."""
    name: str
    own_name: str
    identified: Identified
    stop_words: Annotated[tuple[str, ...], Field(min_length=2)]
    vocabulary: Annotated[int, Field(ge=0)]
    """New tokens where the whole model is trained."""
    english: Share
    """English's share of the tokens."""
    training: Training


def language(code: str) -> Language:
    """The language of that code. Raises ParameterError that names those there are."""
    known = languages()
    if code in known:
        return known[code]
    by_name = {each.name.lower(): each.code for each in known.values()}
    close = difflib.get_close_matches(code.lower(), list(by_name), n=1)
    said = f"did you mean {by_name[close[0]]}? " if close else ""
    raise ParameterError(
        f"no language {code!r}; {said}There are {', '.join(known)}. For another one write a file"
        " like theirs (docs/languages.md), and name it instead of the code"
    )


def read(path: Path) -> Language:
    """The language of a file of one's own. Raises ParameterError that names line and field."""
    return yaml_file.read(path, Language)


@cache
def languages() -> dict[str, Language]:
    """Those that come with pocketlm, by code."""
    found = [read(path) for path in sorted(Path(__file__).parent.glob("*.yaml"))]
    return {each.code: each for each in found}
