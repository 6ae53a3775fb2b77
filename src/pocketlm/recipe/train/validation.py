"""Loss and bits per byte on held-back text, during a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import Accelerator
from torch.nn import functional

from pocketlm.errors import ParameterError
from pocketlm.formats.tokenizer import Tokenizer
from pocketlm.recipe.data.shards import Shards
from pocketlm.recipe.train.mixture import Windows
from pocketlm.recipe.train.packing import pack

Part = TypeVar("Part")


@dataclass(frozen=True)
class Measured:
    """Of one set: nats a token, and bits a byte of its text (which tokenizers cannot change)."""

    loss: float
    bits_per_byte: float


class HeldBack:
    """A set of text that is measured again and again: the same windows each time."""

    def __init__(
        self, name: str, folder: Path, tokenizer: Tokenizer, *, context: int, tokens: int
    ) -> None:
        """Take the first `tokens` of the shards in `folder`. Raises ShardsError, ParameterError."""
        shards = Shards(folder)
        self.name = name
        self._windows = Windows(name, shards, context)
        self._count = min(self._windows.count, max(1, tokens // context))
        self._context = context
        predicted = shards.read(1, self._count * context + 1).tolist()
        self.tokens = len(predicted)
        # The end of a document is predicted too, and stands for no byte.
        self.bytes = sum(len(tokenizer.token_bytes(id)) for id in predicted)
        if not self.bytes:
            raise ParameterError(f"{folder}: its first {self.tokens:,} tokens stand for no text")

    def measure(
        self,
        accelerator: Accelerator,
        model: torch.nn.Module,
        micro: int,
        *,
        across_documents: bool,
    ) -> Measured:
        """Measure the model; all processes call it, each does a part."""
        total = torch.zeros((), dtype=torch.float64)
        model.eval()
        with torch.no_grad():
            starts = range(0, self._count, micro)
            parts = [range(start, min(start + micro, self._count)) for start in starts]
            for numbers, counts in shared(accelerator, parts):
                windows = [self._windows[number] for number in numbers]
                batch = pack(windows, across_documents=across_documents).to(accelerator.device)
                with accelerator.autocast():
                    logits = model(
                        input_ids=batch.inputs,
                        position_ids=batch.positions,
                        attention_mask=batch.mask,
                        use_cache=False,
                    ).logits
                nats = functional.cross_entropy(
                    logits.flatten(0, 1).float(), batch.targets.flatten(), reduction="sum"
                )
                if counts:
                    total += nats.cpu()
        model.train()
        all_nats = accelerator.reduce(total.float().to(accelerator.device))
        return Measured(float(all_nats) / self.tokens, float(all_nats) / self.bytes / math.log(2))


def shared(accelerator: Accelerator, parts: Sequence[Part]) -> Iterator[tuple[Part, bool]]:
    """The parts of a measurement that this process does, and whether they count.

    A sharded model works only where all processes do, so all have as many parts; where they do not
    come out even, some of the last are done in vain.
    """
    world, rank = accelerator.num_processes, accelerator.process_index
    for first in range(0, len(parts), world):
        counts = first + rank < len(parts)
        yield parts[first + rank if counts else 0], counts
