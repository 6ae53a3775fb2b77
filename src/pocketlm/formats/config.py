"""The hub's JSON files beside safetensors: configuration, generation and chat template.

It knows where the hub puts what, and that a file may be hostile: its size, its depth and the
number of its values are bounded before it is parsed. It does not judge the values: `models` does,
the same way for every format.
"""

import json
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.formats import checked
from pocketlm.formats.checkpoint import naming

#: The hub's files of this kind hold some kilobytes; the index of a sharded model some hundred.
_MOST_BYTES = 32 << 20
#: How many values a file may hold. A value takes some hundred bytes of memory, for two in the file.
_MOST_VALUES = 1_000_000


def parse_object(data: bytes, most_values: int = _MOST_VALUES) -> dict[str, Any]:
    """Parse a JSON object.

    Raises ModelFileError for what is not one, for duplicate keys, NaN and infinities, and for more
    or deeper values than any real file has.
    """
    # Each value but the first of its list or object follows a comma.
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > most_values:
        raise ModelFileError(f"holds more than {most_values} JSON values")
    try:
        value = json.loads(
            str(data, "utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError:
        raise ModelFileError("not valid UTF-8") from None
    except RecursionError:
        raise ModelFileError("holds JSON nested too deep") from None
    except json.JSONDecodeError as error:
        raise ModelFileError(
            f"not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except ValueError:
        # Python's own limit on the digits of an integer.
        raise ModelFileError("holds a number of too many digits") from None
    if not isinstance(value, dict):
        raise ModelFileError("not a JSON object")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ModelFileError(f"holds the key {checked.shown(twice)} twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ModelFileError(f"holds {name}, which is not a JSON number")


def read_object(path: Path) -> dict[str, Any]:
    """Read a file that holds a JSON object, as `parse_object` does."""
    with naming(path):
        return parse_object(read_bounded(path))


def read_bounded(path: Path) -> bytes:
    """Read a small file whole. Raises ModelFileError if it is larger than any real one."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError("not a regular file")
    if status.st_size > _MOST_BYTES:
        raise ModelFileError(f"larger than {_MOST_BYTES >> 20} MiB, which no such file is")
    with path.open("rb") as file:
        return file.read(status.st_size)


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json.

    Raises UnsupportedError for a model that does not generate text token by token.
    """
    path = folder / "config.json"
    config = read_object(path)
    with naming(path):
        names = config.get("architectures")
        if names and not any(str(name).endswith("ForCausalLM") for name in _list(names)):
            raise UnsupportedError(
                f"architecture {checked.shown(str(_list(names)[0]))} is not a causal language model"
            )
    if config.get("model_type") == "phi3":
        # On the hub a missing key means no window. In GGUF it means that the file is old.
        config.setdefault("sliding_window", None)
    return config


def read_generation_config(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Read generation_config.json, or {} where there is none.

    `eos_token_id` is a list of ids, if there at all; where the file lacks it, config.json's counts.
    """
    path = folder / "generation_config.json"
    found = read_object(path) if path.exists() else {}
    with naming(path if "eos_token_id" in found else folder / "config.json"):
        ends = found.pop("eos_token_id", config.get("eos_token_id"))
        if ends is not None:
            found["eos_token_id"] = [_token_id(end) for end in _list(ends)]
    return found


def _list(value: object) -> list[Any]:
    """A value that may stand alone or in a list."""
    return value if isinstance(value, list) else [value]


def _token_id(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise ModelFileError(f"eos_token_id holds {checked.shown(str(value))}, expected token ids")
    return value


def read_chat_template(folder: Path) -> str | None:
    """Read the chat template: of its own file, or of tokenizer_config.json. None if there is none.

    Of several named templates it is the one named "default".
    """
    path = folder / "chat_template.jinja"
    if path.exists():
        with naming(path):
            try:
                return str(read_bounded(path), "utf-8")
            except UnicodeDecodeError:
                raise ModelFileError("not valid UTF-8") from None
    for path in (folder / "chat_template.json", folder / "tokenizer_config.json"):
        if path.exists():
            template = read_object(path).get("chat_template")
            if template is not None:
                with naming(path):
                    return _template(template)
    return None


def _template(value: object) -> str:
    if isinstance(value, list):
        named = {
            entry["name"]: entry["template"]
            for entry in value
            if isinstance(entry, dict)
            and isinstance(entry.get("name"), str)
            and "template" in entry
        }
        if "default" not in named:
            raise ModelFileError("chat_template is a list without one named 'default'")
        value = named["default"]
    if not isinstance(value, str):
        raise ModelFileError("chat_template is not a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ModelFileError("chat_template holds half a surrogate pair") from None
    return value
