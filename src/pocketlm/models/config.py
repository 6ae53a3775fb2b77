"""Reading a checkpoint's configuration: the hub's `config.json` form, trusted in nothing.

It knows the keys that decoder architectures share and what each may be. It does not know the
architectures (their files beside this one), rotary positions (`rope.py`), or where the
configuration was stored: `formats` translates GGUF metadata to the same keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.models.program import Builder, Program, Rope

#: Positions and sizes are 32-bit integers in the native runtime.
LARGEST = 2**31 - 1


class Config:
    """A configuration whose values are checked as they are read.

    Every reader raises ModelFileError naming the key. A key that holds null counts as absent.
    """

    def __init__(self, values: Mapping[str, Any], where: str = "") -> None:
        """Read `values`; `where` goes before each key in messages ("rope_parameters.")."""
        self._values = values
        self._where = where

    def has(self, key: str) -> bool:
        """Whether the key is there at all, be it null."""
        return key in self._values

    def count(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        """An integer from `least` to 2³¹ - 1."""
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= LARGEST:
            raise self._wrong(key, value, f"an integer from {least} to {LARGEST}")
        return value

    def positive(self, key: str, default: float | None = None) -> float:
        """A finite number above zero."""
        value = self._get(key, default)
        return self._positive(key, value)

    def positives(self, key: str, length: int) -> list[float]:
        """A list of `length` finite numbers above zero."""
        values = self._get(key, None)
        if not isinstance(values, list | tuple) or len(values) != length:
            held = f"{len(values)} values" if isinstance(values, list | tuple) else values
            raise self._wrong(key, held, f"a list of {length} numbers")
        return [self._positive(key, value) for value in values]

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """A string."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, value, "a string")
        return value

    def texts(self, key: str) -> list[str] | None:
        """A list of strings, or None where the key is absent."""
        values = self._values.get(key)
        if values is None:
            return None
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self._wrong(key, values, "a list of strings")
        return list(values)

    def section(self, *keys: str) -> "Config | None":
        """The first of `keys` that holds an object with anything in it, or None."""
        for key in keys:
            value = self._values.get(key)
            if value is None or value == {}:
                continue
            if not isinstance(value, Mapping):
                raise self._wrong(key, value, "an object")
            return Config(value, f"{self._where}{key}.")
        return None

    def optional_count(self, key: str) -> int | None:
        """As `count`, or None where the key is absent or 0."""
        return self.count(key, 0, least=0) or None

    def optional_positive(self, key: str) -> float | None:
        """As `positive`, or None where the key is absent."""
        return None if self._values.get(key) is None else self.positive(key)

    def _get(self, key: str, default: object) -> object:
        value = self._values.get(key)
        if value is None:
            value = default
        if value is None:
            raise ModelFileError(f"the model's configuration lacks {self._where}{key}")
        return value

    def _positive(self, key: str, value: object) -> float:
        # Compared before it becomes a float: a huge integer has none. NaN compares false.
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e30:
            return float(value)
        raise self._wrong(key, value, "a finite number above 0")

    def _wrong(self, key: str, value: object, expected: str) -> ModelFileError:
        shown = repr(value)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        return ModelFileError(
            f"the model's configuration has {self._where}{key} = {shown}, expected {expected}"
        )


@dataclass(frozen=True)
class Shape:
    """The sizes that every decoder of the LLaMA block structure has.

    `hidden` is the width of the residual stream, `intermediate` that of the gated unit; queries
    have `heads` heads of `head_dim` numbers, keys and values `kv_heads` (grouped queries).
    """

    vocab_size: int
    context: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    norm_eps: float
    tied: bool

    @property
    def queries(self) -> int:
        """Width of all queries of a token."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Width of all keys of a token; values have the same."""
        return self.kv_heads * self.head_dim

    @classmethod
    def read(cls, config: Config) -> "Shape":
        """Read and check the sizes.

        Raises ModelFileError for a value that is missing or out of range, UnsupportedError for a
        model of another structure or in another engine's quantised form.
        """
        activation = config.text("hidden_act", "silu")
        if activation != "silu":
            raise UnsupportedError(f"activation {activation!r} is not supported, only 'silu' is")
        quantised = config.section("quantization_config")
        if quantised is not None:
            method = quantised.text("quant_method", "unnamed")
            raise UnsupportedError(
                f"weights quantised by method {method!r} are not supported;"
                " use the model's 16-bit files or a GGUF file"
            )
        hidden = config.count("hidden_size")
        heads = config.count("num_attention_heads")
        kv_heads = config.count("num_key_value_heads", heads)
        if heads % kv_heads:
            raise ModelFileError(
                f"num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}"
            )
        if hidden % heads and config.optional_count("head_dim") is None:
            raise ModelFileError(
                f"hidden_size {hidden} is not a multiple of num_attention_heads {heads}"
            )
        return cls(
            vocab_size=config.count("vocab_size"),
            context=config.count("max_position_embeddings"),
            hidden=hidden,
            intermediate=config.count("intermediate_size"),
            layers=config.count("num_hidden_layers"),
            heads=heads,
            kv_heads=kv_heads,
            head_dim=config.count("head_dim", hidden // heads),
            norm_eps=config.positive("rms_norm_eps"),
            tied=config.flag("tie_word_embeddings", False),
        )

    def program(self, builder: Builder, *, rope: Rope, window: int | None) -> Program:
        """The finished program; a window that the context never fills is none."""
        builder.check_all_used()
        return Program(
            vocab_size=self.vocab_size,
            context=self.context,
            layers=self.layers,
            heads=self.heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            norm_eps=self.norm_eps,
            attention_scale=self.head_dim**-0.5,
            window=None if window is None or window >= self.context else window,
            rope=rope,
            buffers=builder.buffers,
            operations=tuple(builder.operations),
        )
