"""Options and arguments that several commands share, and what they become."""

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pocketlm.errors import ParameterError

if TYPE_CHECKING:
    from pocketlm.chat.presets import Preset


def models(incomplete: str) -> list[str]:
    """Completion of a model's name: the catalogue's and those on this machine."""
    from pocketlm.chat.presets import Presets
    from pocketlm.errors import Error
    from pocketlm.store import Store

    try:
        store = Store(offline=True)
        names = {entry.name for entry in store.catalogue.entries}
        names.update(entry.name for entry in store.list())
        names.update(Presets(store.home / "presets").names())
    except Error:
        return []
    return sorted(name for name in names if name.startswith(incomplete))


def _go_offline(wanted: bool) -> bool:
    if wanted:
        # By the environment, so that libraries and processes of ours hear of it too.
        os.environ["POCKETLM_OFFLINE"] = os.environ["HF_HUB_OFFLINE"] = "1"
    return wanted


_MODEL_HELP = "A short name (smollm2), a hub repository (org/name) or a path; see `pocketlm list`."
Model = Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL_HELP, autocompletion=models)]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        callback=_go_offline,
        is_eager=True,
        help="Make any use of the network an error (also POCKETLM_OFFLINE=1).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class CacheKind(StrEnum):
    """How the cache keeps keys and values."""

    F32 = "f32"
    F16 = "f16"
    Q8 = "q8"
    Q8_Q4 = "q8/q4"
    Q4 = "q4"


CacheType = Annotated[
    CacheKind,
    typer.Option("--cache-type", help="How the cache keeps keys and values (keys/values)."),
]
NoPrefixCache = Annotated[
    bool,
    typer.Option(
        "--no-prefix-cache",
        help="Neither keep on disk what was read of long texts nor look for it there.",
    ),
]
System = Annotated[str | None, typer.Option("--system", metavar="TEXT", help="The system prompt.")]
Threads = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="Threads (default: physical cores).")
]
Context = Annotated[
    int | None,
    typer.Option("--context", metavar="N", help="Context window in tokens (default: the model's)."),
]


Lora = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        metavar="PATH[:SCALE]",
        help="Add a LoRA adapter (peft's folder or a GGUF file), times SCALE; repeated, their sum.",
    ),
]


def loras(given: list[str] | None) -> list[tuple[Path, float]]:
    """Adapters as people write them ("folder", "file.gguf:0.5") with their scales."""
    return [_scaled(text) for text in given or ()]


def _scaled(text: str) -> tuple[Path, float]:
    path, colon, scale = text.rpartition(":")
    if not colon or Path(text).exists():
        return Path(text), 1.0
    try:
        return Path(path), float(scale)
    except ValueError:
        return Path(text), 1.0  # of which there is none, as opening it will say


class QuantizeKind(StrEnum):
    """What 16- and 32-bit weights can become while they are loaded."""

    Q4_0 = "q4_0"
    Q8_0 = "q8_0"


Quantize = Annotated[
    QuantizeKind | None,
    typer.Option("--quantize", help="Quantise 16- and 32-bit weights while they are loaded."),
]

Temperature = Annotated[
    float | None,
    typer.Option(
        metavar="T",
        help="0 takes the likeliest token, 1 samples as is. Without it: 0.3, --top-p 0.9 and"
        " --frequency-penalty 0.2.",
    ),
]
TopK = Annotated[int | None, typer.Option(metavar="K", help="Sample among the K most likely.")]
TopP = Annotated[
    float | None, typer.Option(metavar="P", help="Sample among those that together reach P.")
]
MinP = Annotated[
    float | None, typer.Option(metavar="P", help="Drop those less likely than P of the likeliest.")
]
RepetitionPenalty = Annotated[
    float | None, typer.Option(metavar="X", help="Divide logits of tokens seen; 1 is none.")
]
PresencePenalty = Annotated[
    float | None, typer.Option(metavar="X", help="Subtract from logits of tokens said.")
]
FrequencyPenalty = Annotated[
    float | None, typer.Option(metavar="X", help="Subtract from logits for each time said.")
]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Same seed, same text.")]
MaxTokens = Annotated[int | None, typer.Option(metavar="N", help="End the answer after N tokens.")]
Stop = Annotated[
    list[str] | None, typer.Option(metavar="TEXT", help="End the answer before TEXT; repeatable.")
]


def said(**options: object) -> dict[str, Any]:
    """Those options that were given."""
    return {name: value for name, value in options.items() if value not in (None, [])}


def sampling(preset: "Preset | None" = None, **options: object) -> dict[str, Any]:
    """What was said, for `engine.sampling`; what was not, as the preset has it.

    Where neither has a temperature, CHAT_SAMPLING.
    """
    from pocketlm.engine.sampling import CHAT_SAMPLING

    chosen = said(**options)
    if preset is not None:
        chosen = {**preset.sampling, **chosen}
    return chosen if "temperature" in chosen else {**CHAT_SAMPLING, **chosen}


def preset_of(name: str | None) -> "Preset | None":
    """The preset of that name, if it is no model's."""
    from pocketlm.chat.presets import Presets

    return None if name is None else Presets().get(name)


def called(name: str) -> str:
    """What others call a model that was named so: a path's last part, anything else as it is."""
    path = Path(name)
    is_path = path.exists() and (os.sep in name or name.endswith(".gguf"))
    return path.absolute().name.removesuffix(".gguf") if is_path else name


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)(i?)b?", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3}


def bytes_of(text: str) -> int:
    """A size as people write it ("1.8GiB", "900MB", "1.8e9" is not) in bytes."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ParameterError(f"size is {text!r}; write it as 1.8GiB, 1800MB or 1800000000")
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** _POWERS[unit.lower()])


Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        envvar="POCKETLM_API_KEY",
        show_envvar=False,
        help="What clients must send (better in POCKETLM_API_KEY: arguments can be seen).",
    ),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Another name of this server; repeatable."),
]
Searxng = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="POCKETLM_SEARXNG",
        show_envvar=False,
        help="The SearXNG server that searches the web.",
    ),
]
