"""Programs against transformers: each architecture and variant, run by the NumPy interpreter."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models import checkpoints, interpreter
from pocketlm import models
from pocketlm.models.program import Program, Project

#: Float64 against PyTorch's float32, on logits whose spread is about 0.06.
TOLERANCE = 5e-6

#: Within LongRoPE's original context and the windows; beyond both.
LENGTHS = (checkpoints.WINDOW, checkpoints.ORIGINAL, checkpoints.ORIGINAL + 1, 90)


@pytest.mark.parametrize("older", [False, True], ids=["present form", "older form"])
@pytest.mark.parametrize("name", checkpoints.CONFIGURATIONS)
def test_logits_are_those_of_transformers(name: str, older: bool, tmp_path: Path) -> None:
    checkpoints.save(name, tmp_path, older=older)
    model = checkpoints.reference(tmp_path)
    program, weights = load(tmp_path)
    for length in LENGTHS:
        tokens = checkpoints.tokens(length, seed=length)
        expected = checkpoints.reference_logits(model, tokens)
        found = interpreter.run(program, weights, tokens)
        assert np.abs(found - expected).max() < TOLERANCE, length


@pytest.mark.parametrize("name", checkpoints.CONFIGURATIONS)
def test_the_comparison_sees_a_wrong_angle(name: str, tmp_path: Path) -> None:
    """Frequencies off by 2 % move the logits far beyond every tolerance used in parity tests."""
    checkpoints.save(name, tmp_path)
    program, weights = load(tmp_path)
    tokens = checkpoints.tokens(90)
    wrong = tuple(f * np.float32(1.02) for f in program.rope.inverse_frequencies)
    rope = dataclasses.replace(program.rope, inverse_frequencies=wrong)
    found = interpreter.run(dataclasses.replace(program, rope=rope), weights, tokens)
    assert np.abs(found - interpreter.run(program, weights, tokens)).max() > 1e-2


@pytest.mark.parametrize("name", ["phi3 with a window", "mistral with a window"])
def test_a_window_counts_the_query_itself(name: str, tmp_path: Path) -> None:
    checkpoints.save(name, tmp_path)
    program, weights = load(tmp_path)
    assert program.window == checkpoints.WINDOW
    tokens = checkpoints.tokens(60)
    right = interpreter.run(program, weights, tokens)
    for window in (checkpoints.WINDOW - 1, checkpoints.WINDOW + 1, None):
        other = interpreter.run(dataclasses.replace(program, window=window), weights, tokens)
        same = np.abs(other - right).max(axis=1) < 1e-9
        first = min(checkpoints.WINDOW, window or checkpoints.WINDOW + 1)
        assert same[:first].all()
        assert not same[first + 1 :].any()


def test_adjacent_pairs_are_half_pairs_with_rows_permuted(tmp_path: Path) -> None:
    """GGUF's converter reorders the rows of q and k in LLaMA files; both orders are one model."""
    checkpoints.save("llama, grouped and tied", tmp_path)
    config, tensors = checkpoints.stored(tmp_path)
    head_dim = config["head_dim"]
    adjacent = dict(tensors)
    for name, tensor in tensors.items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            rows = tensor.data.reshape(-1, 2, head_dim // 2, tensor.shape[1]).swapaxes(1, 2)
            adjacent[name] = checkpoints.Stored(rows.reshape(tensor.shape))
    tokens = checkpoints.tokens(40)
    half = logits(models.build(config, tensors), tensors, tokens)
    other = logits(models.build({**config, "rope_pairing": "adjacent"}, adjacent), adjacent, tokens)
    np.testing.assert_allclose(other, half, atol=1e-9)


def test_biases_of_fused_layers_are_sliced_as_their_rows(tmp_path: Path) -> None:
    checkpoints.save("phi3 with a window", tmp_path)
    config, tensors = checkpoints.stored(tmp_path)
    without = logits(models.build(config, tensors), tensors, [5, 6, 7])
    gate_up = tensors["model.layers.1.mlp.gate_up_proj.weight"]
    bias = np.zeros(gate_up.shape[0], np.float32)
    name = "model.layers.1.mlp.gate_up_proj.bias"
    zero = {**tensors, name: checkpoints.Stored(bias)}
    np.testing.assert_allclose(logits(models.build(config, zero), zero, [5, 6, 7]), without)
    # A very negative gate and an up bias: silu(gate) is 0, so this block's unit adds nothing.
    bias[: len(bias) // 2] = -500
    bias[len(bias) // 2 :] = 1
    shut = {**tensors, name: checkpoints.Stored(bias)}
    down = "model.layers.1.mlp.down_proj.weight"
    removed = {**tensors, down: checkpoints.Stored(np.zeros_like(tensors[down].data))}
    np.testing.assert_allclose(
        logits(models.build(config, shut), shut, [5, 6, 7]),
        logits(models.build(config, removed), removed, [5, 6, 7]),
    )


def test_what_a_program_says_of_itself(tmp_path: Path) -> None:
    """Counts of weights and bytes, against those of the checkpoint and the paper's arithmetic."""
    checkpoints.save("phi4-mini's form", tmp_path)
    config, tensors = checkpoints.stored(tmp_path)
    program = models.build(config, tensors)
    model = checkpoints.reference(tmp_path)
    assert program.parameters == sum(p.numel() for p in model.parameters())
    matrices = [p for p in model.parameters() if p.dim() == 2]
    assert program.weight_bytes == 4 * sum(p.numel() for p in matrices)
    row = config["hidden_size"] * 4
    assert program.step_bytes() == program.weight_bytes + row
    assert program.step_macs() == sum(p.numel() for p in matrices)
    # Two layers' worth of kv heads of 16 numbers, keys and values, two bytes each.
    assert program.cache_bytes(10) == 10 * 3 * 2 * (2 * 16) * 2
    assert program.cache_bytes(10, "q8") == 10 * 3 * 2 * (2 * 16 + 2 * 2)


def test_parameters_of_phi3_mini() -> None:
    """The published size, from the published configuration and no weights at all."""
    with torch.device("meta"):
        import transformers

        model = transformers.Phi3ForCausalLM(transformers.Phi3Config(sliding_window=2047))
    tensors = {name: Sized(tuple(p.shape)) for name, p in model.named_parameters()}
    config = json.loads(model.config.to_json_string(use_diff=False))
    program = models.build(config, tensors)
    assert program.parameters == 3_821_079_552
    assert program.window == 2047
    assert program.cache_bytes(1) == 384 * 1024
    assert sum(isinstance(o, Project) for o in program.operations) == 4 * 32 + 1
    layer = 3072 * (3 * 3072 + 3072 + 3 * 8192)
    head = 3072 * 32064
    # Two bytes a number: layers, head, a row of the embedding; the cache as far as it is seen.
    weights = 2 * (32 * layer + head + 3072)
    assert program.step_bytes() == weights
    assert program.step_bytes(100) == weights + 100 * 384 * 1024
    assert program.step_bytes(4000) == weights + 2047 * 384 * 1024
    halved = program.step_bytes(100, "q8", lambda weight: weight.nbytes // 2)
    assert halved == weights // 2 + 100 * 32 * 2 * 32 * (96 + 3 * 2)
    # Scores and values: 32 heads of 96, twice, for each pair of tokens that see each other.
    pair = 32 * 2 * 32 * 96
    assert program.prompt_macs(1) == 32 * layer + head + pair == program.step_macs() + pair
    assert program.prompt_macs(3) == 3 * 32 * layer + head + (1 + 2 + 3) * pair
    pairs = 2047 * 2048 // 2 + 953 * 2047
    assert program.prompt_macs(3000) == 3000 * 32 * layer + head + pairs * pair


def test_costs_of_smollm2_135m() -> None:
    """Grouped queries: keys and values of 3 heads are read, 9 heads are multiplied. A tied head."""
    with torch.device("meta"):
        import transformers

        model = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=49152,
                hidden_size=576,
                intermediate_size=1536,
                num_hidden_layers=30,
                num_attention_heads=9,
                num_key_value_heads=3,
                max_position_embeddings=8192,
                tie_word_embeddings=True,
            )
        )
    tensors = {name: Sized(tuple(p.shape)) for name, p in model.named_parameters()}
    program = models.build(json.loads(model.config.to_json_string(use_diff=False)), tensors)
    layer = 576 * (576 + 2 * 192 + 576 + 3 * 1536)
    head = 576 * 49152
    assert program.step_macs() == 30 * layer + head == 134_479_872
    assert program.step_bytes(10) == 2 * (30 * layer + head + 576) + 10 * 30 * 2 * 3 * 64 * 2
    pairs = 512 * 513 // 2
    assert program.prompt_macs(512) == 512 * 30 * layer + head + pairs * 30 * 2 * 9 * 64


@dataclasses.dataclass(frozen=True)
class Sized:
    """A tensor without its numbers."""

    shape: tuple[int, ...]
    type: str = "F16"

    @property
    def nbytes(self) -> int:
        return 2 * int(np.prod(self.shape))


def load(folder: Path) -> tuple[Program, dict[str, np.ndarray]]:
    config, tensors = checkpoints.stored(folder)
    return models.build(config, tensors), {name: t.data for name, t in tensors.items()}


def logits(
    program: Program, tensors: dict[str, checkpoints.Stored], tokens: list[int]
) -> np.ndarray:
    return interpreter.run(program, {name: t.data for name, t in tensors.items()}, tokens)
