"""A tokenizer, shards and configurations small enough to train in a test."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from pocketlm.formats.tokenizer import from_folder
from pocketlm.recipe.data import shards
from pocketlm.recipe.train import tokenizer
from pocketlm.recipe.train.configuration import PretrainRun, TokenizerRun

VOCABULARY = 400
_WORDS = [
    "the",
    "a",
    "small",
    "large",
    "red",
    "green",
    "cat",
    "dog",
    "model",
    "token",
    "reads",
    "writes",
    "sees",
    "on",
    "under",
    "near",
    "table",
    "river",
    "because",
    "and",
    "then",
    "slowly",
    "quickly",
    "never",
    "always",
]


def sentences(count: int, seed: int) -> list[str]:
    """Documents of a language that has something to learn: words follow words by a fixed table."""
    generator = np.random.default_rng(seed)
    following = np.random.default_rng(0).integers(0, len(_WORDS), (len(_WORDS), 4))
    found = []
    for _ in range(count):
        word = int(generator.integers(len(_WORDS)))
        words = []
        for _ in range(int(generator.integers(8, 60))):
            words.append(_WORDS[word])
            word = int(following[word, generator.integers(4)])
        found.append(" ".join(words) + ".\n")
    return found


def write_tokenizer(folder: Path, kind: str = "byte-level") -> Path:
    """Train a tokenizer on such documents into `folder`/tokenizer."""
    texts = folder / "texts.txt"
    # Enough different pairs for the vocabulary.
    extra = " ".join(f"{left}{right}" for left in _WORDS for right in _WORDS)
    texts.write_text("".join(sentences(200, 1)) + extra)
    out = folder / f"tokenizer-{kind}"
    tokenizer.train(
        TokenizerRun.model_validate(
            {"out": out, "texts": [texts], "vocabulary": VOCABULARY, "kind": kind, "least": 1}
        )
    )
    return out


def write_shards(folder: Path, made: Path, documents: list[str], parts: int = 1) -> Path:
    """Shards of the documents."""
    folder.mkdir()
    known = from_folder(made)
    assert known.eos_id is not None
    written = [
        shards.write_part(
            folder,
            f"part-{part}",
            [known.encode(text) for text in documents[part::parts]],
            vocabulary=known.vocab_size,
            end=known.eos_id,
        )
        for part in range(parts)
    ]
    shards.seal(
        folder,
        written,
        tokenizer=made / "tokenizer.json",
        vocabulary=known.vocab_size,
        end=known.eos_id,
        source="made for a test",
    )
    return folder


def write_material(folder: Path) -> Path:
    """`tokenizer-byte-level`, `web`, `fine` and `held` in a folder."""
    made = write_tokenizer(folder)
    write_shards(folder / "web", made, sentences(400, 2), parts=2)
    write_shards(folder / "fine", made, sentences(200, 3))
    write_shards(folder / "held", made, sentences(40, 4))
    return folder


def values(material: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """A configuration, as it would stand in a file; `changes` take the place of fields."""
    found: dict[str, Any] = {
        "out": str(out),
        "tokenizer": str(material / "tokenizer-byte-level"),
        "model": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
        },
        "sources": {"web": str(material / "web"), "fine": str(material / "fine")},
        "phases": [
            {"name": "first", "steps": 8, "mix": {"web": 0.9, "fine": 0.1}},
            {"name": "second", "steps": 4, "mix": {"web": 0.25, "fine": 0.75}},
        ],
        "context": 32,
        "batch": 8,
        "micro_batch": 4,
        "schedule": {"peak": 0.01, "warmup": 2},
        "validation": {"sets": {"held": str(material / "held")}, "every": 6, "tokens": 800},
        "checkpoints": {"every": 3, "keep": 2},
        "threads": 1,
    }
    return found | changes


def run(material: Path, out: Path, **changes: Any) -> PretrainRun:
    """The configuration, checked."""
    return PretrainRun.model_validate(values(material, out, **changes))


def lines(log: Path) -> list[dict[str, Any]]:
    """A log's lines without what time it was."""
    found = [json.loads(line) for line in log.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in found]


def losses(log: Path) -> list[float]:
    """The training loss of each step."""
    return [line["loss"] for line in lines(log) if "phase" in line]
