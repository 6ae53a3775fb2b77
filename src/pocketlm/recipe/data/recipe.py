"""The file of `pocketlm data build`: where documents come from, what is done to them, what is made.

It knows fields and their limits. It opens no document. Paths are taken from the file's folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from pocketlm.recipe import yaml_file


def _from_file(path: Path, info: ValidationInfo) -> Path:
    folder: Path = (info.context or {}).get("folder", Path())
    return (folder / path.expanduser()).resolve()


Place = Annotated[Path, AfterValidator(_from_file)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """A section of the file: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Files(Strict):
    """Files of one kind in a folder, or one file."""

    path: Place
    files: str | None = None
    """Which files of the folder, as `**/*.gz`; without it, those with the kind's usual endings."""

    @model_validator(mode="after")
    def _there(self) -> Self:
        if not self.path.exists():
            raise ValueError(f"{self.path} is not there")
        return self


class Warc(_Files):
    """Web archives: HTML responses of `.warc` and `.warc.gz` (and text of `.warc.wet.gz`)."""

    kind: Literal["warc"]


class Html(_Files):
    """Pages, one a file."""

    kind: Literal["html"]


class Text(_Files):
    """Texts, one document a file."""

    kind: Literal["text"]


class Jsonl(_Files):
    """Lines of JSON; `.gz` too."""

    kind: Literal["jsonl"]
    text: str = "text"
    """The field with the text."""


class Parquet(_Files):
    """Parquet files."""

    kind: Literal["parquet"]
    text: str = "text"
    """The column with the text."""


class Hub(Strict):
    """A set of the hub, or a local folder that `datasets` can load."""

    kind: Literal["hub"]
    name: str
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    text: str = "text"
    documents: Count | None = None
    """At most so many of it, for each task."""


Source = Annotated[Warc | Html | Text | Jsonl | Parquet | Hub, Field(discriminator="kind")]


class Extract(Strict):
    """The main text of a page, by trafilatura. Documents that are no HTML pass as they are."""

    stage: Literal["extract"]
    seconds: Annotated[float, Field(gt=0)] = 20
    """Longest time for one page."""
    precision: bool = True
    """Rather miss a paragraph than keep a menu."""


class Language(Strict):
    """Documents in one of the languages, by fastText's lid.176."""

    stage: Literal["language"]
    keep: Annotated[tuple[str, ...], Field(min_length=1)]
    """ISO 639 codes, as `en`."""
    least: Share = 0.65
    """Lowest probability."""


class GopherQuality(Strict):
    """Counts of words, symbols and stop words (Rae et al. 2021, table A1)."""

    stage: Literal["gopher-quality"]
    least_words: Annotated[int, Field(ge=0)] = 50
    most_words: Count = 100_000
    stop_words: tuple[str, ...] | None = None
    """Of another language than English; two of them must be in a document."""


class GopherRepetition(Strict):
    """Repeated lines, paragraphs and n-grams (Rae et al. 2021, table A1)."""

    stage: Literal["gopher-repetition"]


class C4(Strict):
    """Lines of menus, policies and code go; documents with too little left go (Raffel 2020)."""

    stage: Literal["c4"]
    least_sentences: Annotated[int, Field(ge=0)] = 5
    end_marks: bool = False
    """Remove lines that do not end a sentence (C4 did, FineWeb does not)."""
    braces: bool = True
    """Drop documents with a `{`."""


class FineWeb(Strict):
    """Line ends, short lines and repeated lines (Penedo et al. 2024, section 3.6)."""

    stage: Literal["fineweb"]
    end_marks: Share = 0.12
    """Least share of lines that end a sentence."""
    short_lines: Share = 0.67
    repeated: Share = 0.01
    """Most characters in lines that were there before."""


class Quality(Strict):
    """What a classifier made by `pocketlm data classifier` finds worth learning from."""

    stage: Literal["quality"]
    classifier: Place
    least: Share = 0.5
    """Lowest probability."""


class ExactDuplicates(Strict):
    """Of documents that are the same but for space and case, one stays."""

    stage: Literal["exact-duplicates"]


class NearDuplicates(Strict):
    """Of documents that share most n-grams of words, one stays (MinHash)."""

    stage: Literal["near-duplicates"]
    words: Count = 5
    """Length of the n-grams."""
    buckets: Count = 14
    hashes: Count = 8
    """In each bucket: two documents meet if all of one bucket agree."""
    seed: int = 1


class Decontaminate(Strict):
    """Documents that hold items of benchmarks go."""

    stage: Literal["decontaminate"]
    benchmarks: Place
    """A folder of items in `.jsonl`, `.json` or `.parquet`, as `pocketlm eval --data` has it."""
    words: Annotated[int, Field(ge=5, le=50)] = 13
    """An overlap of so many words."""
    least: Annotated[int, Field(ge=4)] = 8
    """Items of fewer than `words` words must be there whole; of fewer than this, they are not
    looked for."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.least > self.words:
            raise ValueError(f"least is {self.least}, more than words, {self.words}")
        if not self.benchmarks.is_dir():
            raise ValueError(f"benchmarks: {self.benchmarks} is no folder")
        return self


class Mask(Strict):
    """Addresses, numbers of telephones, cards and accounts become examples of such."""

    stage: Literal["mask"]
    kinds: tuple[Literal["email", "ip", "phone", "card", "iban"], ...] = (
        "email",
        "ip",
        "phone",
        "card",
        "iban",
    )


Step = Annotated[
    Extract
    | Language
    | GopherQuality
    | GopherRepetition
    | C4
    | FineWeb
    | Quality
    | ExactDuplicates
    | NearDuplicates
    | Decontaminate
    | Mask,
    Field(discriminator="stage"),
]


class ShardsOut(Strict):
    """Token shards of what is left."""

    tokenizer: Place
    """A `tokenizer.json`, or a folder with one."""
    end: str
    """The token after each document, as `<|endoftext|>`."""

    @model_validator(mode="after")
    def _there(self) -> Self:
        if not self.file.is_file():
            raise ValueError(f"tokenizer: {self.file} is not there")
        return self

    @property
    def file(self) -> Path:
        """The tokenizer's file."""
        return self.tokenizer / "tokenizer.json" if self.tokenizer.is_dir() else self.tokenizer


class Slurm(Strict):
    """How jobs are put into a Slurm cluster's queue."""

    partition: str
    time: Annotated[str, Field(pattern=r"^(\d+-)?\d+(:\d+){0,2}$")] = "20:00:00"
    memory: Count = 4
    """Gigabytes a core."""
    venv: str | None = None
    """A virtual environment's `activate` on the nodes."""


class Recipe(Strict):
    """The whole file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")]
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    stages: tuple[Step, ...] = ()
    shards: ShardsOut | None = None
    tasks: Annotated[int, Field(ge=1, le=100_000)] = 8
    """Into how many pieces the files of the sources are dealt. The result depends on it, and not
    on how many workers there are: take as many as there will ever be workers."""
    slurm: Slurm | None = None

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [step.stage for step in self.stages]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"stages: {name} is there twice")
        return self


def read(path: Path) -> Recipe:
    """Read a recipe. Raises ParameterError that names the line and the field."""
    return yaml_file.read(path, Recipe)
