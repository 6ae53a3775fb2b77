"""`pocketlm show`: what a model is and what it needs."""

import json as json_format
from typing import Annotated, Any

import typer

from pocketlm.cli.options import CacheKind, CacheType, Json, Model, Offline


def show(
    model: Model,
    cache_type: CacheType = CacheKind.Q8,
    json: Json = False,
    template: Annotated[
        bool, typer.Option("--template", help="Print the whole chat template.")
    ] = False,
    offline: Offline = False,
) -> None:
    """Show a model's architecture, quantisation, template, stop tokens and memory needs.

    Reads the model's files; loads no weights.

    \b
    Examples:
      pocketlm show smollm2
      pocketlm show ./model.gguf --json
      pocketlm show phi3 --cache-type q8
    """
    from pocketlm.cli.describe import describe
    from pocketlm.cli.output import Download, printable
    from pocketlm.store import Store

    with Download() as progress:
        path = Store().resolve(model, progress=progress)
    about = describe(path, cache_type.value)
    if json:
        print(json_format.dumps({"model": model, **about}, indent=1, ensure_ascii=False))
    elif template:
        print(printable(about["template"]["text"]))
    else:
        print(_text(model, about))


def _text(model: str, about: dict[str, Any]) -> str:
    from pocketlm.cli.output import size, table

    window = about["window"]
    rows = [
        ("model", model),
        ("path", about["path"]),
        ("format", about["format"]),
        ("architecture", about["architecture"]),
        ("parameters", f"{about['parameters']:,}"),
        ("layers", str(about["layers"])),
        (
            "heads",
            f"{about['heads']} ({about['kv_heads']} of keys and values) of {about['head_dim']}",
        ),
        ("vocabulary", f"{about['vocabulary']:,} tokens"),
        ("context", f"{about['context']:,} tokens"),
        ("window", f"{window:,} tokens" if window else "none"),
    ]
    for number, (name, of_type) in enumerate(sorted(about["weights"].items())):
        label = "" if number else "weights"
        rows.append((label, f"{size(of_type['bytes'])} of {name} in {of_type['tensors']} tensors"))
    template = about["template"]
    excerpt = " ".join(template["text"].split())
    rows.append(("template", template["note"] or f"the file's, sha256 {template['sha256'][:16]}…"))
    rows.append(("", excerpt if len(excerpt) <= 72 else f"{excerpt[:71]}…"))
    stops = ", ".join(f"{text} ({number})" for number, text in about["stop_tokens"].items())
    rows.append(("stop tokens", stops or "none"))
    rows.append(
        ("cache", f"{size(about['cache_bytes_per_token'])} a token ({about['cache_type']})")
    )
    for number, (length, needed) in enumerate(about["memory"].items()):
        rows.append(("" if number else "memory", f"{size(needed)} at {int(length):,} tokens"))
    return table(rows)
