"""The hub: which files make a model, by its real client against a server that speaks its API."""

import hashlib
import os
import subprocess
import sys

import pytest

from pocketlm.errors import StoreError
from pocketlm.store.catalogue import HubSource
from pocketlm.store.hub import cached, cached_models, choose_files, remote_files
from pocketlm.store.names import HubName, parse_hub_name

COMPANIONS = ["config.json", "tokenizer.json", "tokenizer_config.json"]
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
INDEX = "model.safetensors.index.json"
JUNK = ["README.md", "pytorch_model.bin", "modeling_phi3.py", "consolidated.safetensors", ".git"]


def chosen(paths: list[str], name: str = "org/name") -> list[str]:
    return choose_files(paths, parse_hub_name(name))


def test_phi3s_repositories():
    gguf = ["Phi-3-mini-4k-instruct-fp16.gguf", "Phi-3-mini-4k-instruct-q4.gguf", "README.md"]
    assert chosen(gguf) == ["Phi-3-mini-4k-instruct-q4.gguf"]
    assert chosen([*COMPANIONS, *SHARDS, INDEX, *JUNK]) == [*COMPANIONS, INDEX, *SHARDS]


def test_one_safetensors_file():
    assert chosen([*COMPANIONS, "model.safetensors", *JUNK]) == [*COMPANIONS, "model.safetensors"]


def test_a_quantised_file_is_preferred_by_type():
    types = ["Q2_K", "Q4_K_S", "Q4_K_M", "Q8_0", "f16"]
    paths = [f"Model-3B-{each}.gguf" for each in types]
    assert chosen(paths) == ["Model-3B-Q4_K_M.gguf"]
    assert chosen(["gguf/m.Q8_0.gguf", "m-IQ1.gguf"]) == ["gguf/m.Q8_0.gguf"]
    assert chosen(["only-TQ1.gguf"]) == ["only-TQ1.gguf"]


def test_parts_and_projectors_are_no_models():
    paths = ["m-Q4_K_M-00001-of-00002.gguf", "mmproj-m-Q8_0.gguf", "m-Q5_K_M.gguf"]
    assert chosen(paths) == ["m-Q5_K_M.gguf"]


def test_a_file_may_be_said():
    assert chosen(["a.Q4_0.gguf", "b.gguf"], "org/name:b.gguf") == ["b.gguf"]
    with pytest.raises(StoreError, match=r"no file 'c\.gguf'"):
        chosen(["a.gguf"], "org/name:c.gguf")


@pytest.mark.parametrize(
    ("paths", "word"),
    [
        (["README.md", "pytorch_model.bin", "config.json"], "neither"),
        (["model.safetensors"], "neither"),
        (["a.gguf", "b.gguf"], "say org/name:FILE, of a.gguf, b.gguf"),
        (["../../x.gguf", "/etc/x.gguf", "..\\x.gguf"], "neither"),
    ],
)
def test_no_model_or_no_way_to_tell(paths, word):
    with pytest.raises(StoreError, match=word):
        chosen(paths)


def test_listing_a_repository(server):
    body = os.urandom(1000)
    server.repositories["org/name"] = {"m.gguf": body, "README.md": b"hello"}
    (file,) = remote_files(HubSource(HubName("org/name")), endpoint=server.url)
    assert (file.name, file.size) == ("m.gguf", 1000)
    assert file.digest.value == hashlib.sha256(body).hexdigest()
    assert file.url == f"{server.url}/org/name/resolve/{'c' * 40}/m.gguf"


def test_a_repository_that_is_not_there(server):
    with pytest.raises(StoreError, match="no repository 'org/none'"):
        remote_files(HubSource(HubName("org/none")), endpoint=server.url)


def test_no_network():
    with pytest.raises(StoreError, match="no network to the hub") as caught:
        remote_files(HubSource(HubName("org/name")), endpoint="http://127.0.0.1:9")
    assert "\n" not in str(caught.value)


def pull(server, tmp_path, name: str) -> subprocess.CompletedProcess[str]:
    """A pull in a process of its own, whose hub is the test's server."""
    program = (
        "import sys; from pocketlm.store import Store; from pocketlm.errors import Error\n"
        "try: print(Store().pull(sys.argv[1]))\n"
        "except Error as error: print('error:', error)"
    )
    environment = os.environ | {"HF_ENDPOINT": server.url, "HF_HUB_CACHE": str(tmp_path / "hub")}
    return subprocess.run(
        [sys.executable, "-c", program, name], env=environment, capture_output=True, text=True
    )


def test_a_safetensors_folder_lands_whole(server, tmp_path):
    files = {name: os.urandom(500) for name in [*COMPANIONS, *SHARDS, INDEX]}
    server.repositories["org/name"] = files | dict.fromkeys(JUNK, b"junk")
    result = pull(server, tmp_path, "org/name")
    folder = tmp_path / "pocketlm" / "models" / "org--name"
    assert result.stdout.strip() == str(folder), result
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "model.json"} == files


def test_one_bad_shard_and_nothing_lands(server, tmp_path):
    files = {name: os.urandom(500) for name in [*COMPANIONS, *SHARDS, INDEX]}
    server.repositories["org/name"] = files
    server.redirects = {f"/org/name/resolve/{'c' * 40}/{SHARDS[1]}": f"{server.url}/bad"}
    server.files["bad"] = os.urandom(500)
    result = pull(server, tmp_path, "org/name")
    assert "bad checksum" in result.stdout
    assert not (tmp_path / "pocketlm" / "models" / "org--name").exists()
    # What came well is kept: the next pull asks for the bad shard alone.
    server.redirects, server.requests = {}, []
    assert pull(server, tmp_path, "org/name").stdout.strip().endswith("org--name")
    fetched = [path.rpartition("/")[2] for path, _ in server.requests if "/resolve/" in path]
    assert fetched == [SHARDS[1]]


def fill_cache(cache, repository: str, files: list[str], commit: str = "c" * 40):
    """A repository as huggingface_hub lays it out: blobs, and links to them by commit."""
    base = cache / f"models--{repository.replace('/', '--')}"
    snapshot = base / "snapshots" / commit
    for number, name in enumerate(files):
        blob = base / "blobs" / f"{number:064x}"
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(b"GGUF" * (number + 1))
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    (base / "refs").mkdir(exist_ok=True)
    (base / "refs" / "main").write_text(commit)
    return snapshot


def test_a_model_of_the_cache(tmp_path):
    snapshot = fill_cache(tmp_path, "org/name", ["m-q4.gguf", "m-fp16.gguf"])
    assert cached(HubName("org/name"), tmp_path) == snapshot / "m-q4.gguf"
    assert cached(HubName("org/name", "m-fp16.gguf"), tmp_path) == snapshot / "m-fp16.gguf"
    assert cached(HubName("org/name", "other.gguf"), tmp_path) is None
    assert cached(HubName("org/other"), tmp_path) is None


def test_a_snapshot_that_lacks_a_shard_is_no_model(tmp_path):
    fill_cache(tmp_path, "org/half", [*COMPANIONS, INDEX, SHARDS[0]])
    folder = fill_cache(tmp_path, "org/whole", [*COMPANIONS, INDEX, *SHARDS])
    assert cached(HubName("org/half"), tmp_path) is None
    assert cached(HubName("org/whole"), tmp_path) == folder


def test_the_present_commit_comes_first(tmp_path):
    fill_cache(tmp_path, "org/name", ["m.gguf"], commit="a" * 40)
    newer = fill_cache(tmp_path, "org/name", ["m.gguf"], commit="b" * 40)
    assert cached(HubName("org/name"), tmp_path) == newer / "m.gguf"


def test_a_link_whose_blob_is_gone(tmp_path):
    snapshot = fill_cache(tmp_path, "org/name", ["m.gguf"])
    (snapshot / "m.gguf").resolve().unlink()
    assert cached(HubName("org/name"), tmp_path) is None


def test_listing_a_cache(tmp_path):
    gguf = fill_cache(tmp_path, "org/name", ["m-q4.gguf", "m-fp16.gguf"])
    folder = fill_cache(tmp_path, "org/whole", [*COMPANIONS, "model.safetensors"])
    fill_cache(tmp_path, "org/bert", ["pytorch_model.bin", "config.json"])
    (tmp_path / "models--..--..--etc" / "snapshots").mkdir(parents=True)
    assert {str(name): path for name, path in cached_models(tmp_path)} == {
        "org/name:m-fp16.gguf": gguf / "m-fp16.gguf",
        "org/name:m-q4.gguf": gguf / "m-q4.gguf",
        "org/whole": folder,
    }


def test_no_cache(tmp_path):
    assert list(cached_models(tmp_path / "none")) == []
