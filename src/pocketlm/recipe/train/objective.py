"""What is minimised: the loss of one forward pass. Each token counts alike."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from pocketlm.recipe.train.packing import Batch

Parts = dict[str, torch.Tensor]
"""Scalars by name; `loss` is what is minimised, others are for the log."""
Objective = Callable[[torch.nn.Module, Batch], Parts]


def logits_of(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """The model's logits, [n * context, vocabulary]."""
    logits: torch.Tensor = model(
        input_ids=batch.inputs,
        position_ids=batch.positions,
        attention_mask=batch.mask,
        use_cache=False,
    ).logits
    return logits.flatten(0, 1)


def next_token(model: torch.nn.Module, batch: Batch) -> Parts:
    """Cross-entropy of the next token, nats, the mean over the batch."""
    return {"loss": functional.cross_entropy(logits_of(model, batch), batch.targets.flatten())}


class Distillation:
    """Cross-entropy on the text, mixed with the divergence from a teacher's distribution.

    (1 - w) CE + w T² KL(teacher ‖ student), both softened by the temperature T; T² keeps the size
    of the gradients (Hinton, Vinyals and Dean 2015).
    """

    def __init__(self, teacher: torch.nn.Module, *, temperature: float, weight: float) -> None:
        """`teacher` is a model in evaluation mode, on the device that trains."""
        self._teacher, self._temperature, self._weight = teacher, temperature, weight

    def __call__(self, model: torch.nn.Module, batch: Batch) -> Parts:
        """The loss, and its two parts (`divergence` without T²)."""
        logits = logits_of(model, batch)
        with torch.no_grad():
            taught = logits_of(self._teacher, batch)[:, : logits.shape[-1]]
            taught = functional.log_softmax(taught.float() / self._temperature, dim=-1)
        own = functional.log_softmax(logits / self._temperature, dim=-1)
        divergence = functional.kl_div(own, taught, reduction="batchmean", log_target=True)
        entropy = functional.cross_entropy(logits, batch.targets.flatten())
        loss = (1 - self._weight) * entropy + self._weight * self._temperature**2 * divergence
        return {"loss": loss, "cross_entropy": entropy.detach(), "divergence": divergence.detach()}
