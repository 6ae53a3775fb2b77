"""Greedy text on the real default model against llama.cpp, on the same file.

Both round activations to 8 bits at every layer. A difference in the last bit, such as another
order of summing makes, has become the whole rounding noise a few layers on: llama.cpp, given its
own text at once instead of token by token, changes the margin between its two best candidates by
0.14 (standard deviation), and by 0.18 with its other attention kernel. `record_llama_cpp.py`
measures that and records it beside the texts. So a text may part from llama.cpp's, at a step where
the margin is within three standard deviations; the test prints where and by how much. What holds
without exception is checked beside it: over all steps, we stay as near to llama.cpp as it stays to
itself, and as near to the exact product of the file's weights as it is.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import interpreter
from parity.steps import greedy, logits
from pocketlm import models
from pocketlm.engine.runtime import Runtime
from pocketlm.formats.checkpoint import Tensor
from pocketlm.formats.open import open_checkpoint

RECORD = Path(__file__).with_name("smollm2_greedy.json")


@dataclass(frozen=True)
class Recorded:
    """llama.cpp's greedy answer to one prompt."""

    prompt: list[int]
    steps: list[dict[str, Any]]

    @property
    def tokens(self) -> list[int]:
        return [step["ids"][0] for step in self.steps]

    def margins(self) -> np.ndarray:
        return np.array([step["logits"][0] - step["logits"][1] for step in self.steps])


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORD.read_text())
    return found


@pytest.fixture(scope="module")
def runs(record: dict[str, Any]) -> list[Recorded]:
    return [Recorded(run["prompt"], run["steps"]) for run in record["runs"]]


@pytest.fixture(scope="module")
def noise(record: dict[str, Any]) -> dict[str, float]:
    """llama.cpp against itself: the greater of the two measured ways."""
    return max(record["noise"].values(), key=lambda found: found["standard_deviation"])


@pytest.fixture(scope="module")
def tensors(smollm2: Path) -> Iterator[Any]:
    with open_checkpoint(smollm2) as checkpoint:
        yield checkpoint.config, checkpoint.tensors


@pytest.fixture(scope="module")
def runtime(tensors: Any) -> Runtime:
    return Runtime(models.build(*tensors), tensors[1])


def test_greedy_text(runtime: Runtime, runs: list[Recorded], noise: dict[str, float]) -> None:
    assert len(runs) >= 20
    bound = 3 * noise["standard_deviation"]
    equal = 0
    for number, run in enumerate(runs):
        assert len(run.steps) == 64
        found = greedy(runtime, run.prompt, len(run.steps))
        parting = next((i for i in range(64) if found[i] != run.tokens[i]), None)
        if parting is None:
            equal += 1
            continue
        step = run.steps[parting]
        assert found[parting] in step["ids"], f"text {number}, step {parting}"
        margin = step["logits"][0] - step["logits"][step["ids"].index(found[parting])]
        print(f"text {number} parts at step {parting}: margin {margin:.3f} of {bound:.3f}")
        assert margin < bound, f"text {number}, step {parting}"
    print(f"{equal} of {len(runs)} texts are equal throughout")


def test_every_step_is_within_the_rounding_noise(
    runtime: Runtime, runs: list[Recorded], noise: dict[str, float]
) -> None:
    """Given llama.cpp's own text, so that nothing after a parting escapes."""
    changes, others = [], 0
    for run in runs:
        margins = run.margins()
        rows = logits(runtime, run.prompt + run.tokens)[len(run.prompt) - 1 : -1]
        for row, step, margin in zip(rows, run.steps, margins, strict=True):
            first, second = step["ids"][:2]
            changes.append(margin - float(row[first] - row[second]))
            if row.argmax() != first:
                others += 1
                assert margin < 3 * noise["standard_deviation"]
    spread = float(np.std(changes))
    print(f"margins differ by {spread:.3f}; another choice at {others} of {len(changes)} steps")
    assert spread < 1.25 * noise["standard_deviation"]
    assert others <= 1.5 * noise["other_choices"]


@pytest.mark.slow
def test_we_are_as_near_to_the_exact_product_as_llama_cpp(
    runtime: Runtime, tensors: Any, runs: list[Recorded]
) -> None:
    """The file's weights, dequantised, in float32: what both round."""
    weights = {name: floats(tensor) for name, tensor in tensors[1].items()}
    ours, theirs = [], []
    for run in runs[::3]:
        tokens = run.prompt + run.tokens
        places = range(len(run.prompt) - 1, len(tokens) - 1)
        exact = interpreter.run(runtime.program, weights, tokens, picks=places, dtype=np.float32)
        found = logits(runtime, tokens)[places.start : places.stop]
        for row, our_row, step in zip(exact, found, run.steps, strict=True):
            # The level of all logits is left out: it decides nothing.
            truth = row[step["ids"]] - row[step["ids"]].mean()
            ours.append(our_row[step["ids"]] - our_row[step["ids"]].mean() - truth)
            theirs.append(np.array(step["logits"]) - np.mean(step["logits"]) - truth)
    our_error, their_error = (float(np.std(errors)) for errors in (ours, theirs))
    print(f"logits off the exact ones by {our_error:.4f}, llama.cpp's by {their_error:.4f}")
    assert our_error < 1.1 * their_error


def floats(tensor: Tensor) -> np.ndarray:
    """A stored tensor's numbers."""
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    if tensor.type == "F32":
        return tensor.data.view("<f4").reshape(tensor.shape)
    rows = tensor.data.reshape(tensor.shape[0], -1)
    return dequantize(rows, GGMLQuantizationType[tensor.type])
