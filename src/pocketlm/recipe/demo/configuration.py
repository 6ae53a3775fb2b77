"""The setting of the demonstration: how much text, which model, how many runs, how many items.

It knows fields and their limits, and the settings that are shipped beside it. A file of one's own
may begin with `like: larger` and say only what is to be different.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pocketlm.errors import ParameterError
from pocketlm.recipe import yaml_file
from pocketlm.recipe.train.configuration import Architecture, Schedule

#: Those that are shipped, `NAME.yaml` beside this module; the first is what is run by default.
SHIPPED = ("demo", "larger", "smoke")

Count = Annotated[int, Field(ge=1)]
Size = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Strict(BaseModel):
    """A section of the file: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Corpus(Strict):
    """Raw text, from what is installed on this machine."""

    megabytes: Size
    """At most; a machine may have less."""
    seed: int = 1


class Synthetic(Strict):
    """Text that programs write, for the third arm."""

    megabytes: Size
    seed: int = 1
    share: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Of the third arm's tokens."""


class Training(Strict):
    """What all arms share."""

    tokens: Count
    """Of a run, at most: no more than the smallest arm has, and `minutes` allow."""
    epochs: Size = 1
    """How often an arm's text may be read."""
    minutes: Size | None = None
    """For all runs together, by the rate that is measured first; no limit where it is not said."""
    context: Annotated[int, Field(ge=8)]
    batch: Count
    schedule: Schedule
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=1 << 32)], ...], Field(min_length=1)]
    """A run of each arm for each."""

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: one is there twice, and would count twice")
        return self


class Judging(Strict):
    """What is asked of each finished model."""

    choices: Count
    """Items of four options."""
    pairs: Count
    """Minimal pairs."""
    bytes: Annotated[int, Field(ge=1000)]
    """Of each set of held-back text, at most."""


class Demonstration(Strict):
    """The whole file."""

    corpus: Corpus
    synthetic: Synthetic
    vocabulary: Annotated[int, Field(ge=300, le=1 << 16)]
    """Tokens of the tokenizer that all arms share."""
    model: Architecture
    training: Training
    judging: Judging
    threads: Count | None = None
    """Of training and judging; all cores where it is not said."""

    @model_validator(mode="before")
    @classmethod
    def _like_a_shipped_one(cls, values: Any) -> Any:  # noqa: ANN401
        """Take what the file does not say from the setting that it is `like`."""
        if not isinstance(values, dict) or "like" not in values:
            return values
        name = values["like"]
        if name not in SHIPPED:
            raise ValueError(f"like: must be one of {', '.join(SHIPPED)}")
        import yaml

        base = yaml.safe_load(_shipped(name).read_text("utf-8"))
        return _merged(base, {key: value for key, value in values.items() if key != "like"})


def read(setting: str) -> Demonstration:
    """A shipped setting by its name, or one from a file of one's own.

    Raises ParameterError that names the line and the field.
    """
    if setting in SHIPPED:
        return yaml_file.read(_shipped(setting), Demonstration)
    if not Path(setting).exists():
        raise ParameterError(
            f"{setting}: is neither a file nor one of the shipped settings ({', '.join(SHIPPED)})"
        )
    return yaml_file.read(Path(setting), Demonstration)


def _shipped(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.yaml")


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes`, section by section."""
    merged = dict(base)
    for key, value in changes.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = _merged(before, value)
        merged[key] = value
    return merged
