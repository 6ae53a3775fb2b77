"""Windows into tensors: what the model is given, and what it must predict.

Several documents share a window. Unless they are let, tokens attend to their own document alone
(a mask of blocks), and positions begin anew with each document, as they do when the model is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from pocketlm.recipe.train.mixture import Window


class Batch(NamedTuple):
    """A forward pass: int64 [n, context] each, and the mask, bool [n, 1, context, context].

    `mask` is True where a row's token may attend to a column's; None where plain causality is all.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor | None

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        mask = None if self.mask is None else self.mask.to(device)
        inputs, targets, positions = (tensor.to(device) for tensor in self[:3])
        return Batch(inputs, targets, positions, mask)


def pack(windows: Sequence[Window], *, across_documents: bool) -> Batch:
    """The batch of these windows, in their order."""
    ids = torch.from_numpy(np.stack([window.ids for window in windows]))
    inputs, targets = ids[:, :-1], ids[:, 1:]
    length = inputs.shape[1]
    places = torch.arange(length).expand_as(inputs)
    documents = torch.from_numpy(np.stack([window.documents for window in windows]))[:, :-1]
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    if across_documents or not begins[:, 1:].any():
        return Batch(inputs, targets, places, None)
    firsts = torch.where(begins, places, 0).cummax(dim=1).values
    same = documents[:, :, None] == documents[:, None, :]
    mask = (same & torch.ones(length, length, dtype=torch.bool).tril()).unsqueeze(1)
    return Batch(inputs, targets, places - firsts, mask)
