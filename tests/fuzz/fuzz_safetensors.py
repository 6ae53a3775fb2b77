"""Fuzz safetensors folders: headers, index, configuration, generation and tokenizer settings.

An input holds the files of a folder one after another; they are written to a folder in memory and
opened as a user's would be.
"""

import json
import re
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import driver

from pocketlm.errors import UnsupportedError
from pocketlm.formats.open import open_checkpoint

NAMES = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "model.safetensors.index.json",
    "model.safetensors",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
)
BETWEEN = b"\x1e\x1e"
#: What the files of the folders hold.
WRITTEN: dict[Path, bytes] = {}

#: What a value is replaced by.
VALUES = tuple(
    value.encode()
    for value in (
        "0 1 -1 1.5 1e999 -0.0 2147483648 4294967296 9223372036854775807 9223372036854775808"
        " 18446744073709551552 18446744073709551615 null true false NaN Infinity [] {} [1] [[1]]"
        ' {"a":1} "" "a" "F16" "I64" "F8_E4M3" "../x.safetensors" "default" "\\ud800" '
        + "9" * 5000
        + " "
        + "[" * 5000
    ).split()
)
VALUE = re.compile(rb'(?<=[:,\[ ])(-?\d+(\.\d+)?(e-?\d+)?|"[^"]*"|true|false|null)')


def target(data: bytes) -> None:
    """Open a folder, and read the first and last byte of each tensor."""
    contents = data.split(BETWEEN)
    # A folder for each set of files, where only the files that changed are written again.
    folder = FOLDER / "".join("1" if content else "0" for content in contents[: len(NAMES)])
    folder.mkdir(exist_ok=True)
    for name, content in zip(NAMES, contents, strict=False):
        path = folder / name
        if content and WRITTEN.get(path) != content:
            path.write_bytes(content)
            WRITTEN[path] = content
    checkpoint = open_checkpoint(folder)
    for name in checkpoint.tensors:
        try:
            tensor = checkpoint.tensors[name]
        except UnsupportedError:
            continue
        if tensor.nbytes:
            assert int(tensor.data[0]) + int(tensor.data[-1]) >= 0


def replace_value(
    rng: driver.Random, data: bytearray, seed: driver.Seed, seeds: Sequence[driver.Seed]
) -> None:
    """Replace one JSON value, and keep the length of the file by the spaces that follow it."""
    matches = [VALUE.search(data, rng.randrange(len(data))) for _ in range(2)]
    match = matches[0]
    if match is None:
        return
    value = rng.choice(VALUES) if matches[1] is None or rng.random() < 0.7 else matches[1].group()
    data[match.start() : match.end()] = value
    grown = len(value) - (match.end() - match.start())
    if grown > 0:
        spaces = data.find(b" " * grown, match.start() + len(value))
        if spaces >= 0:
            del data[spaces : spaces + grown]
    else:
        place = match.start() + len(value)
        data[place:place] = b" " * -grown


def safetensors_bytes(tensors: dict[str, tuple[str, list[int]]]) -> bytes:
    """Write a file; its header ends in spaces, which the format allows."""
    widths = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "U8": 1}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        size = widths[dtype]
        for dimension in shape:
            size *= dimension
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode() + b" " * 300
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(i % 256 for i in range(end))


def seeds() -> list[driver.Seed]:
    """A single-file folder in the hub's present form, and a sharded one in the older form."""
    shape = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "vocab_size": 8,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
    }
    llama = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "tie_word_embeddings": True,
        "eos_token_id": [1, 2],
        **shape,
    }
    phi3 = {
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        "rope_scaling": {"type": "su", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8},
        "rope_theta": 10000.0,
        "original_max_position_embeddings": 2048,
        "sliding_window": 2047,
        **shape,
    }
    layer = "model.layers.0"
    first: dict[str, tuple[str, list[int]]] = {
        "model.embed_tokens.weight": ("BF16", [8, 4]),
        f"{layer}.input_layernorm.weight": ("F32", [4]),
        f"{layer}.self_attn.qkv_proj.weight": ("F16", [8, 4]),
        "position_ids": ("I64", [4]),
    }
    second: dict[str, tuple[str, list[int]]] = {
        f"{layer}.mlp.down_proj.weight": ("BF16", [4, 4]),
        "model.norm.weight": ("F32", [4]),
    }
    shards = NAMES[5:]
    index = {
        "metadata": {"total_size": 10000},
        "weight_map": {**dict.fromkeys(first, shards[0]), **dict.fromkeys(second, shards[1])},
    }
    generation = {"eos_token_id": [1, 2, 7], "temperature": 0.7}
    template = {"chat_template": "{{ messages }}", "bos_token": "<s>"}
    named = {"chat_template": [{"name": "default", "template": "{{ messages }}"}]}

    def folder(*files: object) -> driver.Seed:
        parts = [
            file
            if isinstance(file, bytes)
            else json.dumps(file).encode() + b" " * 40
            if file
            else b""
            for file in files
        ]
        starts = [len(BETWEEN.join(parts[:number])) + len(BETWEEN) for number in (4, 5, 6)]
        lengths = [(start, 8) for start, part in zip(starts, parts[4:], strict=True) if part]
        return driver.Seed(BETWEEN.join(parts), lengths)

    whole = safetensors_bytes({**first, **second})
    halves = safetensors_bytes(first), safetensors_bytes(second)
    return [
        folder(llama, generation, template, None, whole, b"", b""),
        folder(phi3, None, named, index, b"", *halves),
    ]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        FOLDER = Path(name)
        driver.main("safetensors", target, seeds(), (*driver.MUTATIONS, *[replace_value] * 8))
