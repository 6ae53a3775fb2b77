"""A tiny real model's greedy text, exactly: float32 weights, a known beginning."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models import interpreter
from parity.steps import engine_of, greedy
from parity.stories import write_gguf
from pocketlm.formats.checkpoint import Checkpoint
from pocketlm.formats.open import open_checkpoint

BOS = 1
BEGINNING = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."
)


@pytest.fixture(scope="module")
def stories(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    path = tmp_path_factory.mktemp("stories") / "stories260K.gguf"
    write_gguf(test_data / "models", path)
    with open_checkpoint(path) as checkpoint:
        yield checkpoint


def test_greedy_text(stories: Checkpoint) -> None:
    engine = engine_of(stories)
    tokens = greedy(engine, [BOS], 300)
    assert stories.tokenizer().decode(tokens).startswith(BEGINNING)

    weights = {
        name: tensor.data.view("<f4").reshape(tensor.shape)
        for name, tensor in stories.tensors.items()
    }
    exact = interpreter.run(engine.runtime.program, weights, [BOS, *tokens[:-1]])
    error = np.abs(engine.logits([BOS, *tokens[:-1]]) - exact).max()
    assert error < 0.1  # of logits as large as 23: the cache is float16
    best = np.sort(exact, axis=1)[:, -2:]
    clear = best[:, 1] - best[:, 0] > 2 * error
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(exact.argmax(axis=1)[clear], np.array(tokens)[clear])
