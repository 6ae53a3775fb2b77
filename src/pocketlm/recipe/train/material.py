"""What a run is made of, opened and checked against each other: tokenizer, sources, measurements.

It reads shards and probes; it knows no model and no loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pocketlm.errors import ParameterError
from pocketlm.formats.tokenizer import Tokenizer
from pocketlm.recipe.data.shards import Shards
from pocketlm.recipe.train.configuration import PretrainRun
from pocketlm.recipe.train.mixture import Windows
from pocketlm.recipe.train.models import open_tokenizer, tokenizer_digest
from pocketlm.recipe.train.probes import Probes, open_probes
from pocketlm.recipe.train.validation import HeldBack

#: Tokens of a forward pass where nothing is said: more are not faster on a CPU, and take memory.
_PASS = 8192


@dataclass(frozen=True)
class Material:
    """Open and checked."""

    tokenizer: Tokenizer
    sources: dict[str, Windows]
    held_back: tuple[HeldBack, ...]
    probes: Probes


def gather(run: PretrainRun) -> Material:
    """Open what a run names. Raises ParameterError, ModelFileError or ShardsError."""
    tokenizer = open_tokenizer(run.tokenizer)
    digest = tokenizer_digest(run.tokenizer)
    mixed = {name for phase in run.phases for name in phase.mix}
    sources = {
        name: Windows(name, _opened(f"sources.{name}", folder, digest), run.context)
        for name, folder in run.sources.items()
        if name in mixed
    }
    held_back = []
    probes: Probes = ()
    if run.validation is not None:
        for name, folder in run.validation.sets.items():
            _opened(f"validation.sets.{name}", folder, digest)
            held_back.append(
                HeldBack(name, folder, tokenizer, context=run.context, tokens=run.validation.tokens)
            )
        probes = open_probes(run.validation.choices, run.validation.pairs, tokenizer, run.context)
    return Material(tokenizer, sources, tuple(held_back), probes)


def micro_batch(run: PretrainRun, processes: int) -> int:
    """Sequences of a forward pass. Raises ParameterError where the batch does not come out even."""
    mine, left = divmod(run.batch, processes)
    if left or not mine:
        raise ParameterError(f"batch: {run.batch} sequences do not divide among {processes}")
    if run.micro_batch is None:
        most = max(1, _PASS // run.context)
        return max(size for size in range(1, min(mine, most) + 1) if mine % size == 0)
    if mine % run.micro_batch:
        raise ParameterError(
            f"micro_batch: the {mine} sequences of a process are no multiple of {run.micro_batch}"
        )
    return run.micro_batch


def _opened(field: str, folder: Path, digest: str) -> Shards:
    shards = Shards(folder)
    if shards.description.tokenizer_sha256 != digest:
        raise ParameterError(
            f"{field}: {folder} was made with another tokenizer than the run's; "
            "name the one that it was made with, or make the shards again"
        )
    return shards
