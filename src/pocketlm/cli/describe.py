"""What a model is and what it needs, from its files alone: no weights are loaded."""

import hashlib
from pathlib import Path
from typing import Any


def describe(path: Path, cache_type: str) -> dict[str, Any]:
    """Everything that `show` prints, ready for JSON. Sizes are in bytes.

    Raises ModelFileError, UnsupportedError or TemplateError for a file that could not be run.
    """
    from pocketlm.chat.fallback import template_for
    from pocketlm.chat.prompt import stop_ids
    from pocketlm.formats.open import open_checkpoint
    from pocketlm.models import build

    with open_checkpoint(path) as checkpoint:
        program = build(checkpoint.config, checkpoint.tensors)
        tokenizer = checkpoint.tokenizer()
        types: dict[str, dict[str, int]] = {}
        for tensor in checkpoint.tensors.values():
            of_type = types.setdefault(tensor.type, {"tensors": 0, "bytes": 0})
            of_type["tensors"] += 1
            of_type["bytes"] += tensor.nbytes
        template = template_for(tokenizer, checkpoint.chat_template)
        stops = stop_ids(tokenizer, template, checkpoint.generation_config)
        template.close()
        spelling = {number: text for text, number in tokenizer.control.items()}
        lengths = sorted({min(n, program.context) for n in (4096, 32768, program.context)})
        return {
            "path": str(path),
            "format": checkpoint.kind,
            "architecture": checkpoint.config["model_type"],
            "parameters": program.parameters,
            "layers": program.layers,
            "heads": program.heads,
            "kv_heads": program.kv_heads,
            "head_dim": program.head_dim,
            "vocabulary": program.vocab_size,
            "context": program.context,
            "window": program.window,
            "weights": types,
            "weight_bytes": sum(of_type["bytes"] for of_type in types.values()),
            "template": {
                "sha256": hashlib.sha256(template.source.encode()).hexdigest(),
                "note": template.note,
                "text": template.source,
            },
            "stop_tokens": {str(number): spelling.get(number, "") for number in sorted(stops)},
            "cache_type": cache_type,
            "cache_bytes_per_token": program.cache_bytes(1, cache_type),
            "memory": {
                str(length): program.weight_bytes + program.cache_bytes(length, cache_type)
                for length in lengths
            },
        }
