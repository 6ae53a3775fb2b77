"""Gradients by hand are those that PyTorch finds, through every architecture's layers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models import checkpoints
from pocketlm.formats.open import open_checkpoint
from pocketlm.models import build
from pocketlm.models.program import Program
from pocketlm.quantize import decoder, gradients
from quantize import tiny

TOKENS = 24


def norm(x: torch.Tensor, weight: np.ndarray, eps: float) -> torch.Tensor:
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps) * torch.tensor(weight)


def by_torch(
    program: Program, layer: decoder.Layer, x: torch.Tensor
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The stream behind a layer, and what each matrix gives, with gradients kept."""
    given: dict[str, torch.Tensor] = {}
    rope = program.rope
    angles = np.arange(len(x), dtype=np.float32)[:, None] * rope.inverse_frequencies[0]
    cos, sin = (torch.tensor(f(angles) * rope.scale).double() for f in (np.cos, np.sin))

    def through(role: str, rows: torch.Tensor) -> torch.Tensor:
        out = rows @ torch.tensor(layer.matrices[role]).double().T
        if role in layer.biases:
            out = out + torch.tensor(layer.biases[role])
        out.retain_grad()
        given[role] = out
        return out

    def turned(rows: torch.Tensor) -> torch.Tensor:
        half = cos.shape[1]
        adjacent = rope.pairing == "adjacent"
        a, b = (
            (rows[..., 0 : 2 * half : 2], rows[..., 1 : 2 * half : 2])
            if adjacent
            else (rows[..., :half], rows[..., half : 2 * half])
        )
        first, second = a * cos - b * sin, b * cos + a * sin
        pairs = torch.stack([first, second], -1).flatten(-2) if adjacent else None
        both = torch.cat([first, second], -1) if pairs is None else pairs
        return torch.cat([both, rows[..., 2 * half :]], -1)

    def heads(rows: torch.Tensor) -> torch.Tensor:
        return rows.view(len(rows), -1, program.head_dim).transpose(0, 1)

    normed = norm(x, layer.attention_norm, program.norm_eps)
    q, k, v = (heads(through(role, normed)) for role in "qkv")
    shared = program.heads // program.kv_heads
    k, v = (turned(k).repeat_interleave(shared, 0), v.repeat_interleave(shared, 0))
    scores = turned(q) @ k.transpose(1, 2) * program.attention_scale
    age = torch.arange(len(x))[:, None] - torch.arange(len(x))
    scores[:, (age < 0) | (age >= (program.window or len(x)))] = -torch.inf
    attended = (scores.softmax(-1) @ v).transpose(0, 1).reshape(len(x), -1)
    x = x + through("o", attended)
    normed = norm(x, layer.mlp_norm, program.norm_eps)
    gated = torch.nn.functional.silu(through("gate", normed)) * through("up", normed)
    return x + through("down", gated), given


@pytest.mark.parametrize("name", list(checkpoints.CONFIGURATIONS))
def test_they_are_pytorchs(name: str, tmp_path: Path) -> None:
    checkpoints.save(name, tmp_path)
    rng = np.random.default_rng(1)
    with open_checkpoint(tmp_path) as checkpoint:
        program = build(checkpoint.config, checkpoint.tensors)
        read = tiny.reader(tiny.floats_of(checkpoint))
        layer = decoder.load(program, next(iter(decoder.layers(program))), read)
        hidden = decoder.embedding(program).columns
        x, after = (rng.standard_normal((TOKENS, hidden)).astype(np.float32) for _ in range(2))
        inside = torch.tensor(x).double().requires_grad_(True)
        behind, given = by_torch(program, layer, inside)
        # The same layer, before its gradients are compared.
        np.testing.assert_allclose(
            behind.detach().numpy(), decoder.run(program, layer, x), atol=1e-3, rtol=1e-4
        )
        behind.backward(torch.tensor(after).double())
        found, before, _ = gradients.of_layer(program, layer, x, after)
        assert found.keys() == given.keys()
        for role, rows in given.items():
            assert rows.grad is not None
            scale = float(rows.grad.abs().max()) + 1e-12
            np.testing.assert_allclose(found[role] / scale, rows.grad / scale, atol=2e-5)
        assert inside.grad is not None
        np.testing.assert_allclose(before, inside.grad, atol=2e-4, rtol=1e-3)

        project = decoder.head(program)
        weight, rows = read(project.norm).ravel(), read(project.weights[0])
        of_logits, before = gradients.of_head(
            x, weight, rows, program.norm_eps, np.random.default_rng(2)
        )
        inside = torch.tensor(x).double().requires_grad_(True)
        logits = norm(inside, weight, program.norm_eps) @ torch.tensor(rows).double().T
        # What was said is where the gradient is p - 1.
        said = torch.tensor((of_logits - logits.softmax(-1).detach().numpy()).argmin(axis=1))
        torch.nn.functional.cross_entropy(logits, said, reduction="sum").backward()
        assert inside.grad is not None
        np.testing.assert_allclose(before, inside.grad, atol=1e-4)
        np.testing.assert_allclose(of_logits.sum(axis=1), 0, atol=1e-5)


def test_what_is_said_is_drawn_from_the_models_distribution() -> None:
    head = np.log(np.array([[0.5], [0.3], [0.2]], np.float32))
    x = np.ones((20_000, 1), np.float32)
    of_logits, _ = gradients.of_head(x, np.ones(1, np.float32), head, 0.0, np.random.default_rng(3))
    shares = np.mean(of_logits < 0, axis=0)
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=0.015)
