"""Models of the Hugging Face hub: which files of a repository make one, and where they lie.

`huggingface_hub` lists a repository and knows the address, the login and the cache; `download`
brings the bytes, because that library neither goes on with a download after its process ended nor
checks digests. A cache that other tools filled is read, never written.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pocketlm.errors import StoreError
from pocketlm.store.catalogue import HubSource
from pocketlm.store.download import Digest
from pocketlm.store.names import HubName, is_file_name, is_sha256, parse_hub_name

#: What a safetensors model is beside its weights. No code and no pickle among them.
_COMPANIONS = frozenset(
    [
        "added_tokens.json",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "merges.txt",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "vocab.json",
    ]
)
_INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")
_SPLIT_GGUF = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
#: Of several GGUF files the first of these types is taken: small, and little lost.
_PREFERRED = [
    "q4_k_m",
    "q4",
    "q4_k_s",
    "q4_1",
    "q4_0",
    "q5_k_m",
    "q5_k_s",
    "q6_k",
    "q8_0",
    "bf16",
    "fp16",
    "f16",
    "f32",
]


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository, at one commit."""

    name: str
    url: str
    size: int
    digest: Digest


def choose_files(paths: Iterable[str], name: HubName) -> list[str]:
    """The files of a repository that make the model `name`: one GGUF, or a safetensors folder's.

    A GGUF file is preferred: it is quantised. Raises StoreError when there is no model, or no way
    to tell which.
    """
    files = [path for path in paths if all(is_file_name(part) for part in path.split("/"))]
    if name.file is not None:
        if name.file not in files:
            raise StoreError(f"{name.repository} has no file {name.file!r}")
        return [name.file]
    ggufs = [
        path
        for path in files
        if path.endswith(".gguf") and not _SPLIT_GGUF.search(path) and "mmproj" not in path
    ]
    if ggufs:
        return [_preferred(ggufs, name)]
    top = {path for path in files if "/" not in path}
    shards = sorted(path for path in top if _SHARD.fullmatch(path))
    weights = [_INDEX, *shards] if _INDEX in top and shards else ["model.safetensors"]
    if "config.json" not in top or not top.issuperset(weights):
        raise StoreError(f"{name.repository} holds neither a GGUF file nor safetensors weights")
    return sorted(top & _COMPANIONS) + weights


def _preferred(ggufs: list[str], name: HubName) -> str:
    for wanted in _PREFERRED:
        typed = re.compile(rf"(?:^|[-._/]){wanted}\.gguf$", re.IGNORECASE)
        found = [path for path in ggufs if typed.search(path)]
        if len(found) == 1:
            return found[0]
    if len(ggufs) == 1:
        return ggufs[0]
    listed = ", ".join(sorted(ggufs)[:6])
    raise StoreError(f"{name.repository} has {len(ggufs)} GGUF files; say {name}:FILE, of {listed}")


def remote_files(source: HubSource, endpoint: str | None = None) -> list[RemoteFile]:
    """The files that make `source`, with their sizes and digests at the present commit."""
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository = source.name.repository
    try:
        info = HfApi(endpoint=endpoint).model_info(
            repository, revision=source.revision, files_metadata=True, timeout=30
        )
    except GatedRepoError as error:
        raise StoreError(
            f"{repository} wants its licence accepted on the hub, and a login (`hf auth login`)"
        ) from error
    except RepositoryNotFoundError as error:
        raise StoreError(f"the hub has no repository {repository!r} that you may see") from error
    except RevisionNotFoundError as error:
        raise StoreError(f"{repository} has no revision {source.revision!r}") from error
    except Exception as error:  # its HTTP client, and so its errors, differ from version to version
        lines = str(error).strip().splitlines() or [""]
        raise StoreError(f"no network to the hub: {type(error).__name__}: {lines[0]}") from error
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    files = []
    for path in choose_files(siblings, source.name):
        sibling = siblings[path]
        if sibling.lfs is not None and is_sha256(sibling.lfs.sha256):
            size, digest = sibling.lfs.size, Digest("sha256", sibling.lfs.sha256)
        elif sibling.size is not None and sibling.blob_id is not None:
            size, digest = sibling.size, Digest("git", sibling.blob_id)
        else:
            raise StoreError(f"the hub gives no size and digest for {path} of {repository}")
        url = hf_hub_url(repository, path, revision=info.sha, endpoint=endpoint)
        files.append(RemoteFile(path.rsplit("/", 1)[-1], url, size, digest))
    return files


def request_headers() -> Mapping[str, str]:
    """What the hub wants to see: who asks, and the login that `hf auth login` keeps."""
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    return dict(build_hf_headers(library_name="pocketlm"))


def cache_folder() -> Path:
    """Where huggingface_hub keeps what it downloads (`HF_HOME`, `HF_HUB_CACHE`)."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def cached(name: HubName, cache: Path) -> Path | None:
    """The model `name` in a hub cache: a GGUF file or a folder, complete, or None."""
    for snapshot in _snapshots(cache / ("models--" + name.repository.replace("/", "--"))):
        found = _model_in(snapshot, name)
        if found is not None:
            return found
    return None


def cached_models(cache: Path) -> Iterator[tuple[HubName, Path]]:
    """Every model of a hub cache that is complete."""
    for folder in sorted(cache.glob("models--*--*")):
        name = parse_hub_name(folder.name.removeprefix("models--").replace("--", "/", 1))
        if name is None:
            continue
        snapshots = _snapshots(folder)
        ggufs = sorted({path.name for snapshot in snapshots for path in snapshot.glob("*.gguf")})
        names = [HubName(name.repository, gguf) for gguf in ggufs if not _SPLIT_GGUF.search(gguf)]
        for each in names or [name]:
            path = cached(each, cache)
            if path is not None:
                yield each, path


def _snapshots(repository: Path) -> list[Path]:
    """A repository's snapshots, that of `main` first."""
    try:
        main = (repository / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        main = ""
    try:
        found = sorted(path for path in (repository / "snapshots").iterdir() if path.is_dir())
    except OSError:
        return []
    return sorted(found, key=lambda path: path.name != main)


def _model_in(folder: Path, name: HubName) -> Path | None:
    """The model in a snapshot's folder, or None when it is not all there."""
    paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    try:
        chosen = choose_files(paths, name)
    except StoreError:
        return None
    if len(chosen) == 1:
        return folder / chosen[0]
    return folder if is_complete(chosen) else None


def is_complete(files: Iterable[str]) -> bool:
    """Whether no shard is missing among a safetensors folder's files."""
    shards = [match for file in files if (match := _SHARD.fullmatch(file))]
    return not shards or sorted(int(m[1]) for m in shards) == list(range(1, int(shards[0][2]) + 1))
