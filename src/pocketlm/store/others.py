"""Models that Ollama and LM Studio keep, found and used where they lie.

Read only. Names come from the stores' own listings: a user's text is compared with them and never
becomes part of a path; digests pass an allow-list before they do.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

_OLLAMA_MODEL = "application/vnd.ollama.image.model"
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_MANIFEST_LIMIT = 1 << 20
_SKIPPED = re.compile(r"mmproj|-\d{5}-of-\d{5}\.gguf$")


def ollama_folders() -> list[Path]:
    """Where Ollama keeps models: the variable, the user's folder, the service's."""
    configured = os.environ.get("OLLAMA_MODELS")
    if configured:
        return [Path(configured)]
    return [Path.home() / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models")]


def lmstudio_folders() -> list[Path]:
    """Where LM Studio keeps models: its present folder and its older one."""
    return [Path.home() / ".lmstudio" / "models", Path.home() / ".cache" / "lm-studio" / "models"]


def ollama_models(folder: Path) -> Iterator[tuple[str, Path]]:
    """(`ollama:NAME:TAG`, GGUF file) of each model of an Ollama store."""
    manifests = folder / "manifests"
    for manifest in _files(manifests, "*/*/*/*"):
        host, space, name, tag = manifest.relative_to(manifests).parts
        blob = _ollama_blob(manifest, folder / "blobs")
        if blob is None:
            continue
        where = [] if host == "registry.ollama.ai" else [host]
        where += [] if not where and space == "library" else [space]
        yield "ollama:" + "/".join([*where, f"{name}:{tag}"]), blob


def _ollama_blob(manifest: Path, blobs: Path) -> Path | None:
    """The weights that a manifest names, if they are there and a GGUF file."""
    try:
        if manifest.stat().st_size > _MANIFEST_LIMIT:
            return None
        layers = json.loads(manifest.read_bytes())["layers"]
        digests = [layer["digest"] for layer in layers if layer["mediaType"] == _OLLAMA_MODEL]
        match = _DIGEST.fullmatch(digests[0])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    if match is None or len(digests) != 1:
        return None
    blob = blobs / f"sha256-{match[1]}"
    return blob if _is_gguf(blob) else None


def lmstudio_models(folder: Path) -> Iterator[tuple[str, Path]]:
    """(`lmstudio:PUBLISHER/MODEL/FILE`, GGUF file) of each model of an LM Studio store."""
    for path in _files(folder, "*/*/*.gguf"):
        if not _SKIPPED.search(path.name) and _is_gguf(path):
            yield f"lmstudio:{path.relative_to(folder).as_posix()}", path


def _files(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(path for path in folder.glob(pattern) if path.is_file())
    except OSError:  # another user's folder
        return []


def _is_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:
        return False
