"""Writes the tables of docs/mobile.md, or checks that they are there.

    python docs/phones.py            # write
    python docs/phones.py --check    # exit 1 when the page is not what would be written

What a phone's memory allows follows from what a token reads, and that is the program's own account
(models/program.py): no phone is run, no weight is loaded. The tables stand between
`<!-- table: NAME -->` and `<!-- end -->`; the rest of the page is ours.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pocketlm.models import phi3
from pocketlm.models.program import Program
from pocketlm.quantize.groups import groups, prior
from pocketlm.quantize.plan import stored_bytes, within

PAGE = Path(__file__).with_name("mobile.md")
_PART = re.compile(r"(<!-- table: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

HIDDEN, FEED_FORWARD, VOCABULARY, LAYERS, HEADS = 3072, 8192, 32064, 32, 32
#: Bytes of a file of 1.8 GB that are matrices; norms, vocabulary and names are the rest.
MATRICES = 1_798_000_000
#: GB/s of memory, by the makers' data: LPDDR4X-4266 and LPDDR5-6400, 64 bits wide.
PHONES = {"iPhone 14 (A15)": 34.1, "iPhone 14 Pro (A16)": 51.2}
#: What the report on Phi-3 has measured, in tokens a second.
REPORTED = 12.0
LENGTHS = (0, 1024, 2047, 4096)


@dataclass(frozen=True)
class Stored:
    """A matrix, or vector, of a file."""

    type: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return stored_bytes(self.type, *self.shape) if self.type != "F32" else 4 * self.shape[0]


def phi3_mini(window: int | None, types: Mapping[str, str]) -> Program:
    """Phi-3-mini with its matrices apart, of the types of their groups; P4 where none is named."""
    tensors = {
        f"{name}.weight": Stored(types.get(group, "P4"), (VOCABULARY, HIDDEN))
        for name, group in (("model.embed_tokens", "embedding"), ("lm_head", "head"))
    }
    tensors["model.norm.weight"] = Stored("F32", (HIDDEN,))
    shapes = {f"self_attn.{part}": (HIDDEN, HIDDEN) for part in "qkvo"}
    shapes |= {f"mlp.{part}": (FEED_FORWARD, HIDDEN) for part in ("gate", "up")}
    shapes["mlp.down"] = (HIDDEN, FEED_FORWARD)
    for layer in range(LAYERS):
        name = f"model.layers.{layer}"
        for part, shape in shapes.items():
            type_ = types.get(f"layer {layer} {part.partition('.')[2]}", "P4")
            tensors[f"{name}.{part}_proj.weight"] = Stored(type_, shape)
        for norm in ("input", "post_attention"):
            tensors[f"{name}.{norm}_layernorm.weight"] = Stored("F32", (HIDDEN,))
    config = {
        "hidden_size": HIDDEN,
        "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "sliding_window": window,
    }
    return phi3.build(config, tensors)


def planned(window: int | None = 2047) -> Program:
    """The same as `pocketlm quantize --size 1.8GB` cuts it without a text to measure on."""
    whole = phi3_mini(window, {})
    choices = within(groups(whole, prior(whole)), MATRICES)
    return phi3_mini(window, {choice.group.name: choice.type for choice in choices})


def speed() -> Iterator[str]:
    """Tokens a second that reading each byte once allows, by length and cache."""
    program = planned()
    yield f"| tokens before | cache | GB a token | {' | '.join(PHONES)} |"
    yield f"| --- | --- | --- |{' --- |' * len(PHONES)}"
    for length in LENGTHS:
        for cache in ("f16", "q8", "q4") if length else ("",):
            read = program.step_bytes(length, cache or "f16") / 1e9
            rates = " | ".join(f"{bandwidth / read:.1f}" for bandwidth in PHONES.values())
            yield f"| {length:,} | {cache} | {read:.2f} | {rates} |"


def share() -> Iterator[str]:
    """What part of the memory's rate a speed takes."""
    read = planned().step_bytes() / 1e9
    yield "| phone | memory, GB/s | tokens/s at all of it | part of it that 12 tokens/s take |"
    yield "| --- | --- | --- | --- |"
    for phone, bandwidth in PHONES.items():
        part = REPORTED * read / bandwidth
        yield f"| {phone} | {bandwidth} | {bandwidth / read:.1f} | {part:.0%} |"


def memory() -> Iterator[str]:
    """What counts against a process's limit: not the mapped weights, but the cache."""
    yield "| tokens | model | mapped, clean | cache f16 | cache q8 | cache q4 |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for title, window, lengths in (
        ("4K", 2047, (2047, 4096)),
        ("128K", None, (4096, 16384, 32768)),
    ):
        program = planned(window)
        for length in lengths:
            caches = " | ".join(
                f"{program.cache_bytes(length, cache) / 1e9:.2f} GB"
                for cache in ("f16", "q8", "q4")
            )
            yield f"| {length:,} | {title} | {program.weight_bytes / 1e9:.2f} GB | {caches} |"


def generated(page: str) -> str:
    """The page with every table as it is now."""
    tables = {"speed": speed, "share": share, "memory": memory}
    return _PART.sub(
        lambda part: f"{part[1]}\n{chr(10).join(tables[part['name']]())}\n\n{part[3]}", page
    )


if __name__ == "__main__":
    before = PAGE.read_text(encoding="utf-8")
    after = generated(before)
    if sys.argv[1:] == ["--check"]:
        if before != after:
            sys.exit("docs/mobile.md is out of date: run `python docs/phones.py`")
    else:
        PAGE.write_text(after, encoding="utf-8")
