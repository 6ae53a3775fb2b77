"""Rotary positions from a configuration: inverse frequencies and the scalings that change them.

Plain (Su et al. 2021), linear (Chen et al. 2023), Llama 3.1's, and LongRoPE (Ding et al. 2024),
each computed in float32 as transformers does, so that long positions agree to the last angle.
It reads both spellings of the hub's configuration: `rope_parameters`, and the older `rope_scaling`
with `rope_theta` beside it.
"""

import math

import numpy as np
import numpy.typing as npt

from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.models.config import Config, Shape
from pocketlm.models.program import Rope

Floats = npt.NDArray[np.float32]


def read_rope(config: Config, shape: Shape) -> Rope:
    """Read the rotary positions of heads of `shape.head_dim` numbers.

    Raises ModelFileError for factors of the wrong number or value, UnsupportedError for a rope
    type that is not known, by its name.
    """
    parameters = config.section("rope_scaling", "rope_parameters") or Config({})
    if parameters.section("full_attention", "sliding_attention") is not None:
        raise UnsupportedError("rope parameters that differ by layer are not supported")
    kind = parameters.text("rope_type", parameters.text("type", "default"))
    kind = "longrope" if kind == "su" else kind  # its name until July 2024
    pairing = config.text("rope_pairing", "half")
    if pairing not in ("half", "adjacent"):
        raise ModelFileError(f"rope_pairing is {pairing!r}, expected 'half' or 'adjacent'")

    theta = parameters.positive("rope_theta", config.positive("rope_theta", 10000.0))
    powers = _powers(theta, _rotary_dim(config, parameters, shape.head_dim))
    original = _original_context(config, parameters) if kind in ("llama3", "longrope") else 0
    with np.errstate(all="ignore"):
        sets = _frequencies(kind, parameters, powers, original)
    if not all(np.isfinite(frequencies).all() for frequencies in sets):
        raise ModelFileError("the model's rope parameters give angles that are not finite")
    if kind != "longrope":
        return Rope(sets, pairing=pairing)
    scale = _longrope_scale(parameters, shape.context, original)
    return Rope(sets, scale, pairing, original)


def _frequencies(
    kind: str, parameters: Config, powers: Floats, original: int
) -> tuple[Floats, ...]:
    """The sets of inverse frequencies: two of LongRoPE (short, long), else one."""
    plain = np.float32(1) / powers
    if kind == "longrope":
        short, long = (
            np.array(parameters.positives(key, len(powers)), np.float32)
            for key in ("short_factor", "long_factor")
        )
        return np.float32(1) / (short * powers), np.float32(1) / (long * powers)
    if parameters.has("frequency_factors"):
        # A GGUF file holds Llama 3.1's scaling worked out, one divisor a frequency.
        return (plain / np.array(parameters.positives("frequency_factors", len(powers)), "f4"),)
    if kind == "default":
        return (plain,)
    if kind == "linear":
        return (plain / np.float32(parameters.positive("factor")),)
    if kind == "llama3":
        return (_llama3(parameters, plain, original),)
    raise UnsupportedError(f"rope type {kind[:40]!r} is not supported")


def _rotary_dim(config: Config, parameters: Config, head_dim: int) -> int:
    """How many of a head's numbers are turned."""
    key = "partial_rotary_factor"
    part = parameters.positive(key, config.positive(key, 1.0))
    dim = int(head_dim * part)
    if not 2 <= dim <= head_dim or dim % 2:
        raise ModelFileError(
            f"{key} {part} turns {dim} of a head's {head_dim} numbers; expected an even number"
        )
    return dim


def _powers(theta: float, dim: int) -> Floats:
    """theta^(2i / dim), each the inverse of a plain frequency: float32 [dim / 2]."""
    exponents = np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim)
    # In float64, rounded once: NumPy's float32 power is off in the last place where PyTorch's is
    # not, and at position 100,000 that is an angle.
    return np.power(np.float64(theta), exponents.astype(np.float64)).astype(np.float32)


def _longrope_scale(parameters: Config, context: int, original: int) -> float:
    """The factor on cos and sin: the file's own, or sqrt(1 + ln(factor) / ln(original))."""
    scale = parameters.optional_positive("attention_factor")
    if scale is not None:
        return scale
    factor = parameters.positive("factor", context / original)
    return 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))


def _llama3(parameters: Config, plain: Floats, original: int) -> Floats:
    """Low frequencies divided by `factor`, high ones kept, those between interpolated."""
    factor, low, high = (
        np.float32(parameters.positive(key))
        for key in ("factor", "low_freq_factor", "high_freq_factor")
    )
    if high <= low:
        raise ModelFileError(f"high_freq_factor {high} is not above low_freq_factor {low}")
    context = np.float32(original)
    wavelength = np.float32(2 * math.pi) / plain
    smooth = (context / wavelength - low) / (high - low)
    between = (1 - smooth) * plain / factor + smooth * plain
    return np.where(
        wavelength > context / low,
        plain / factor,
        np.where(wavelength < context / high, plain, between),
    )


def _original_context(config: Config, parameters: Config) -> int:
    """The longest sequence before scaling; Phi-3's files hold it beside the rope parameters."""
    key = "original_max_position_embeddings"
    holder = parameters if config.optional_count(key) is None else config
    return holder.count(key, least=2)
