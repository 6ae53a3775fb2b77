"""How much what a model predicts depends on what each of its matrices gives.

Texts go through the model in float32, a layer at a time, and the gradient of what it might have
said comes back: for each token one of the model's own next tokens is drawn, and -ln p of those is
differentiated. Squares of such gradients are the Fisher information, the curvature of the KL
divergence to the model as it is: an error dy in what a matrix gives costs (g dy)² / 2 on average.

It knows a decoder's layer and arrays. It knows no file, and nothing of rounding.
"""

from __future__ import annotations

import numpy as np

from pocketlm.models.program import Program
from pocketlm.quantize import decoder
from pocketlm.quantize.decoder import Floats, Layer

#: By role, the gradient of what the matrix gives: float32 [tokens, rows].
Gradients = dict[str, Floats]


def of_head(
    x: Floats, norm: Floats, head: Floats, epsilon: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Of the logits [tokens, vocabulary], and of the residual stream before the head's norm.

    `x` is the stream of one text, float32 [tokens, hidden].
    """
    normed = decoder.normalised(x, norm, epsilon)
    logits = normed @ head.T
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    # Drawn by inversion: the first token whose sum of probabilities reaches a random number.
    sums = np.cumsum(logits, axis=1, dtype=np.float64)
    said = (sums < rng.random((len(x), 1)) * sums[:, -1:]).sum(axis=1)
    logits[np.arange(len(x)), said] -= 1
    before = np.matmul(logits, head)
    return logits, _through_norm(x, norm, epsilon, before)


def of_layer(
    program: Program, layer: Layer, x: Floats, after: Floats
) -> tuple[Gradients, Floats, dict[str, Floats]]:
    """Of what each matrix gives, of the residual stream before the layer, and what was multiplied.

    `x` is the stream of one text before the layer, `after` the gradient of it behind the layer,
    both float32 [tokens, hidden]; what matrices multiply is as `decoder.run` shows it.
    """
    w, eps = layer.matrices, program.norm_eps
    seen: dict[str, Floats] = {}
    decoder.run(program, layer, x, seen.__setitem__)

    def given(role: str) -> Floats:
        rows: Floats = seen[decoder.INPUTS[role]] @ w[role].T
        return rows + layer.biases[role] if role in layer.biases else rows

    def taken(*roles: str) -> Floats:
        """The gradient of what these matrices multiply."""
        rows = found[roles[0]] @ w[roles[0]]
        for role in roles[1:]:
            rows += found[role] @ w[role]
        return rows

    found = {"down": after}
    hidden = taken("down")
    gate = given("gate")
    with np.errstate(over="ignore"):
        logistic = np.reciprocal(1 + np.exp(-gate))
    found["up"] = hidden * (gate * logistic)
    found["gate"] = hidden * given("up") * (logistic * (1 + gate * (1 - logistic)))
    before_mlp = x + given("o")
    stream = after + _through_norm(before_mlp, layer.mlp_norm, eps, taken("gate", "up"))
    found["o"] = stream
    attended = decoder.attention_gradients(program, given("q"), given("k"), given("v"), taken("o"))
    found |= dict(zip("qkv", attended, strict=True))
    before = stream + _through_norm(x, layer.attention_norm, eps, taken("q", "k", "v"))
    return found, before, seen


def _through_norm(x: Floats, weight: Floats, epsilon: float, after: Floats) -> Floats:
    """The gradient before an RMS norm, from the one behind it."""
    scale = 1 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(epsilon))
    weighed = after * weight
    along = np.mean(weighed * x, axis=-1, keepdims=True) * scale * scale
    result: Floats = (weighed - x * along) * scale
    return result
