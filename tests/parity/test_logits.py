"""The engine against transformers, on tiny random checkpoints.

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
import torch

from models import checkpoints, interpreter
from parity.steps import Steps, engine_of
from pocketlm.engine.engine import Engine
from pocketlm.engine.request import Notice
from pocketlm.engine.sampling import SamplingParameters
from pocketlm.errors import ParameterError
from pocketlm.formats.open import open_checkpoint

TOLERANCE = 1e-3
#: Float32 sums, and keys that fall on the other side of a float16 step.
EXACT = 1e-4

LENGTHS = (checkpoints.WINDOW, checkpoints.ORIGINAL, checkpoints.ORIGINAL + 1, 100)


@dataclass
class Case:
    folder: Path
    model: Any
    engine: Engine

    def expected(self, tokens: list[int]) -> np.ndarray:
        """One forward of transformers over the whole length."""
        return checkpoints.reference_logits(self.model, tokens)

    def interpreted(self, tokens: list[int]) -> np.ndarray:
        _, tensors = checkpoints.stored(self.folder)
        weights = {name: tensor.data for name, tensor in tensors.items()}
        program = self.engine.runtime.program
        return interpreter.run(program, weights, tokens, cache=float16)


@pytest.fixture(scope="module", params=checkpoints.CONFIGURATIONS)
def case(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("checkpoint")
    checkpoints.save(request.param, folder)
    with open_checkpoint(folder) as checkpoint:
        yield Case(folder, checkpoints.reference(folder), engine_of(checkpoint, threads=2))


@pytest.mark.parametrize("length", LENGTHS)
def test_at_once_in_chunks_and_token_by_token(case: Case, length: int) -> None:
    tokens = checkpoints.tokens(length, seed=length)
    at_once = case.engine.logits(tokens)
    assert np.abs(at_once - case.expected(tokens)).max() < TOLERANCE
    assert np.abs(at_once - case.interpreted(tokens)).max() < EXACT
    for chunk in (1, 7, 32, 33):
        # Not only near: how a prompt is cut must not decide what is answered.
        np.testing.assert_array_equal(case.engine.logits(tokens, chunk), at_once)


def test_greedy_tokens_beyond_windows_and_the_longrope_crossing(case: Case) -> None:
    """Each token is the likeliest of transformers' forward over the whole text so far."""
    prompt = checkpoints.tokens(checkpoints.ORIGINAL - 8, seed=3)
    with case.engine.generate(prompt, SamplingParameters(max_tokens=60)) as request:
        notices = [event for event in request if isinstance(event, Notice)]
    crosses = case.engine.runtime.program.rope.original_context == checkpoints.ORIGINAL
    assert len(notices) == int(crosses)
    assert len(request.generated) == 60
    for length, token in enumerate(request.generated, len(prompt)):
        row = case.expected(request.tokens[:length])[-1]
        assert row[token] > row.max() - TOLERANCE


def test_sequences_in_one_step_are_as_alone(case: Case) -> None:
    """Of different lengths, at different places, with different sets of LongRoPE."""
    runtime = case.engine.runtime
    texts = [checkpoints.tokens(n, seed=n) for n in (70, 20, 33)]
    together: list[list[np.ndarray]] = [[] for _ in texts]
    steps = [Steps(runtime, len(text)) for text in texts]
    done = [0] * len(texts)
    for count in (1, 30, 39):
        parts = [text[at : at + count] for text, at in zip(texts, done, strict=True)]
        live = [i for i, part in enumerate(parts) if part]
        segments = [steps[i].segment(len(parts[i])) for i in live]
        joined = [token for i in live for token in parts[i]]
        rows = runtime.run(joined, segments, range(len(joined)))
        for i in live:
            together[i].append(rows[: len(parts[i])])
            rows = rows[len(parts[i]) :]
            done[i] += len(parts[i])
    for step in steps:
        step.free()
    for text, found in zip(texts, together, strict=True):
        np.testing.assert_array_equal(np.concatenate(found), case.engine.logits(text))


#: Root mean square error of logits by the cache's type, relative to their spread.
LOSSES = {"q8": 0.03, "f16/q8": 0.03, "q8/q4": 0.3, "q4": 0.6}


@pytest.mark.parametrize("cache_type", LOSSES)
def test_a_smaller_cache_loses_little(case: Case, cache_type: str) -> None:
    tokens = checkpoints.tokens(100)
    expected = case.expected(tokens)
    with open_checkpoint(case.folder) as checkpoint:
        if "q4" in cache_type and case.engine.runtime.program.head_dim % 32:
            with pytest.raises(ParameterError, match="needs heads of a multiple of 32 numbers"):
                engine_of(checkpoint, cache_type=cache_type)
            return
        engine = engine_of(checkpoint, threads=1, cache_type=cache_type)
        found = engine.logits(tokens)
        np.testing.assert_array_equal(engine.logits(tokens, chunk=7), found)
    loss = np.sqrt(np.mean((found - expected) ** 2)) / expected.std()
    print(f"{cache_type}: {loss:.4f}")
    assert 0 < loss < LOSSES[cache_type]


def test_the_number_of_threads_decides_nothing(case: Case) -> None:
    tokens = checkpoints.tokens(50)
    with open_checkpoint(case.folder) as checkpoint:
        for threads in (1, 3):
            found = engine_of(checkpoint, threads=threads).logits(tokens)
            np.testing.assert_array_equal(found, case.engine.logits(tokens))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "f16"])
@pytest.mark.parametrize("name", ["phi3 with longrope", "llama with linear rope and biases"])
def test_weights_of_16_bits_are_used_as_they_are(
    name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    """Transformers computes in float32 with the same rounded weights."""
    checkpoints.save(name, tmp_path, dtype=dtype)
    model = checkpoints.reference(tmp_path)
    tokens = checkpoints.tokens(60)
    with open_checkpoint(tmp_path) as checkpoint:
        types = {tensor.type for tensor in checkpoint.tensors.values()}
        assert types == {"BF16" if dtype is torch.bfloat16 else "F16"}
        error = engine_of(checkpoint).logits(tokens) - checkpoints.reference_logits(model, tokens)
    assert np.abs(error).max() < TOLERANCE


def float16(rows: np.ndarray) -> np.ndarray:
    return rows.astype(np.float16).astype(rows.dtype)
