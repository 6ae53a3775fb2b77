"""Ollama's and LM Studio's stores, read where they lie, and never followed out of them."""

import json

import pytest

from pocketlm.store.others import (
    lmstudio_folders,
    lmstudio_models,
    ollama_folders,
    ollama_models,
)

DIGEST = "a" * 64


def ollama(folder, path="registry.ollama.ai/library/llama3.2/1b", digest=f"sha256:{DIGEST}"):
    """An Ollama store of one model; returns its manifest."""
    blobs = folder / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    (blobs / f"sha256-{DIGEST}").write_bytes(b"GGUF and more")
    manifest = folder / "manifests" / path
    manifest.parent.mkdir(parents=True, exist_ok=True)
    layers = [
        {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "b" * 64},
        {"mediaType": "application/vnd.ollama.image.model", "digest": digest, "size": 13},
    ]
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return manifest


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("registry.ollama.ai/library/llama3.2/1b", "ollama:llama3.2:1b"),
        ("registry.ollama.ai/someone/phi/latest", "ollama:someone/phi:latest"),
        ("hf.co/org/name-GGUF/Q4_K_M", "ollama:hf.co/org/name-GGUF:Q4_K_M"),
        ("example.org/library/x/y", "ollama:example.org/library/x:y"),
    ],
)
def test_an_ollama_model(tmp_path, path, name):
    ollama(tmp_path, path)
    assert list(ollama_models(tmp_path)) == [(name, tmp_path / "blobs" / f"sha256-{DIGEST}")]


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:../../../secret", "../secret", "sha256-" + "A" * 64, "sha256:" + "a" * 63, "",
        f"sha256:{DIGEST}/../x", "md5:" + "a" * 32, f"sha256:{DIGEST}\n", None, 7, ["x"],
    ],
)  # fmt: skip
def test_a_digest_is_no_path(tmp_path, digest):
    ollama(tmp_path / "store", digest=digest)
    (tmp_path / "secret").write_bytes(b"GGUF")
    assert list(ollama_models(tmp_path / "store")) == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"layers": 1}', '{"layers": [{}]}', "\xff", "[" * 100_000, "{" * 9]
)
def test_a_broken_manifest_is_passed_over(tmp_path, text):
    manifest = ollama(tmp_path)
    manifest.write_text(text, encoding="latin-1")
    assert list(ollama_models(tmp_path)) == []


def test_a_huge_manifest_is_not_read(tmp_path):
    manifest = ollama(tmp_path)
    manifest.write_text(manifest.read_text() + " " * (2 << 20))
    assert list(ollama_models(tmp_path)) == []


def test_a_blob_that_is_gone_or_no_gguf(tmp_path):
    ollama(tmp_path)
    blob = tmp_path / "blobs" / f"sha256-{DIGEST}"
    blob.write_bytes(b"ZIP")
    assert list(ollama_models(tmp_path)) == []
    blob.unlink()
    assert list(ollama_models(tmp_path)) == []


def test_lm_studio(tmp_path):
    model = tmp_path / "publisher" / "Model-GGUF"
    model.mkdir(parents=True)
    for name in ("m-Q4_K_M.gguf", "mmproj-m.gguf", "big-00001-of-00002.gguf"):
        (model / name).write_bytes(b"GGUF")
    (model / "broken.gguf").write_bytes(b"no")
    (model / "readme.txt").write_text("GGUF")
    name = "lmstudio:publisher/Model-GGUF/m-Q4_K_M.gguf"
    assert list(lmstudio_models(tmp_path)) == [(name, model / "m-Q4_K_M.gguf")]


def test_where_they_are_looked_for(tmp_path, monkeypatch):
    home = tmp_path / "home"
    assert ollama_folders()[0] == home / ".ollama" / "models"
    assert lmstudio_folders()[0] == home / ".lmstudio" / "models"
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "elsewhere"))
    assert ollama_folders() == [tmp_path / "elsewhere"]
