"""The native runtime against transformers, on tiny random checkpoints in float32.

The cache holds float16, the smallest type that loses next to nothing; the checkpoints' scale is
such that what it rounds off stays within the tolerance (see `models.checkpoints`). So that a fault
cannot hide there, the NumPy interpreter rounds keys and values alike, and must agree more closely.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import checkpoints, interpreter
from parity.steps import Steps, logits
from pocketlm import models
from pocketlm.engine.runtime import Runtime
from pocketlm.formats.open import open_checkpoint

TOLERANCE = 1e-3
#: Float32 sums, and keys that fall on the other side of a float16 step.
EXACT = 1e-4

LENGTHS = (checkpoints.WINDOW, checkpoints.ORIGINAL, checkpoints.ORIGINAL + 1, 100)


@dataclass
class Case:
    folder: Path
    model: Any
    runtime: Runtime
    weights: dict[str, np.ndarray]

    def expected(self, tokens: list[int]) -> np.ndarray:
        return checkpoints.reference_logits(self.model, tokens)

    def interpreted(self, tokens: list[int]) -> np.ndarray:
        return interpreter.run(self.runtime.program, self.weights, tokens, cache=float16)


@pytest.fixture(scope="module", params=checkpoints.CONFIGURATIONS)
def case(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("checkpoint")
    checkpoints.save(request.param, folder)
    _, tensors = checkpoints.stored(folder)
    with open_checkpoint(folder) as checkpoint:
        program = models.build(checkpoint.config, checkpoint.tensors)
        runtime = Runtime(program, checkpoint.tensors, threads=2)
        weights = {name: tensor.data for name, tensor in tensors.items()}
        yield Case(folder, checkpoints.reference(folder), runtime, weights)


@pytest.mark.parametrize("length", LENGTHS)
def test_at_once_in_chunks_and_token_by_token(case: Case, length: int) -> None:
    tokens = checkpoints.tokens(length, seed=length)
    expected, interpreted = case.expected(tokens), case.interpreted(tokens)
    at_once = logits(case.runtime, tokens)
    assert np.abs(at_once - expected).max() < TOLERANCE
    assert np.abs(at_once - interpreted).max() < EXACT
    for chunk in (1, 7, 32, 33):
        # Not only near: how a prompt is cut must not decide what is answered.
        np.testing.assert_array_equal(logits(case.runtime, tokens, chunk), at_once)


def test_sequences_in_one_step_are_as_alone(case: Case) -> None:
    """Of different lengths, at different places, with different sets of LongRoPE."""
    texts = [checkpoints.tokens(n, seed=n) for n in (70, 20, 33)]
    together: list[list[np.ndarray]] = [[] for _ in texts]
    steps = [Steps(case.runtime, len(text)) for text in texts]
    done = [0] * len(texts)
    for count in (1, 30, 39):
        parts = [text[at : at + count] for text, at in zip(texts, done, strict=True)]
        live = [i for i, part in enumerate(parts) if part]
        segments = [steps[i].segment(len(parts[i])) for i in live]
        joined = [token for i in live for token in parts[i]]
        rows = case.runtime.run(joined, segments, range(len(joined)))
        for i in live:
            together[i].append(rows[: len(parts[i])])
            rows = rows[len(parts[i]) :]
            done[i] += len(parts[i])
    for step in steps:
        step.free()
    for text, found in zip(texts, together, strict=True):
        np.testing.assert_array_equal(np.concatenate(found), logits(case.runtime, text))


def test_an_8_bit_cache_loses_little(case: Case) -> None:
    with open_checkpoint(case.folder) as checkpoint:
        runtime = Runtime(case.runtime.program, checkpoint.tensors, threads=1, cache_type="q8")
    tokens = checkpoints.tokens(100)
    expected = case.expected(tokens)
    error = logits(runtime, tokens) - expected
    assert np.sqrt(np.mean(error**2)) < 0.03 * expected.std()


def test_blocks_are_given_back(case: Case) -> None:
    assert case.runtime.cache.blocks_in_use == 0


def float16(rows: np.ndarray) -> np.ndarray:
    return rows.astype(np.float16).astype(rows.dtype)
