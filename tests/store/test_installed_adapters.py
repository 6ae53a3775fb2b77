"""Adapters in the store: put in, found by model and language, taken out."""

import pytest

from pocketlm.errors import OutputError, StoreError
from pocketlm.store.adapters import Adapters


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"12345678")
    (folder / "README.md").write_text("not wanted")
    return folder


@pytest.fixture
def adapters(tmp_path):
    return Adapters(tmp_path / "home")


def test_put_in_found_and_taken_out(adapters, source, tmp_path):
    assert adapters.list() == []
    german = adapters.install(source, language="de", base="smollm2", model="one")
    assert (german.name, german.language, german.base, german.size > 8) == (
        "smollm2-de",
        "de",
        "smollm2",
        True,
    )
    assert {each.name for each in german.path.iterdir()} == {
        "adapter.json",
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    single = tmp_path / "czech.gguf"
    single.write_bytes(b"GGUF")
    czech = adapters.install(single, language="cs", base="/models/Some Model.gguf", model="one")
    assert czech.name == "Some-Model-cs"
    assert czech.path.read_bytes() == b"GGUF"
    adapters.install(source, language="de", base="phi3", model="two")
    assert adapters.of("one") == {"cs": czech, "de": german}
    assert set(adapters.of("two")) == {"de"}
    assert adapters.of("three") == {}
    assert adapters.remove("smollm2-de") == german.path
    assert set(adapters.of("one")) == {"cs"}


def test_one_in_the_place_of_another(adapters, source):
    adapters.install(source, language="de", base="smollm2", model="one")
    (source / "adapter_model.safetensors").write_bytes(b"better")
    again = adapters.install(source, language="de", base="smollm2", model="one")
    assert (again.path / "adapter_model.safetensors").read_bytes() == b"better"
    with pytest.raises(StoreError, match="of another model"):
        adapters.install(source, language="de", base="smollm2", model="two")
    other = adapters.install(source, language="de", base="smollm2", model="one", name="mine")
    assert adapters.of("one")["de"] == other
    assert len(adapters.list()) == 2


def test_what_is_refused(adapters, source):
    for language in ("", "German", "../x", "d"):
        with pytest.raises(StoreError, match="is no language"):
            adapters.install(source, language=language, base="m", model="one")
    with pytest.raises(StoreError, match="cannot name an adapter"):
        adapters.install(source, language="de", base="m", model="one", name="../out")
    for name in ("nobody", "..", "../models"):
        with pytest.raises(StoreError, match="no adapter"):
            adapters.remove(name)
    (source / "adapter_config.json").unlink()
    with pytest.raises((OutputError, FileNotFoundError)):
        adapters.install(source, language="de", base="m", model="one")
    assert adapters.list() == []


def test_a_damaged_one_is_not_there(adapters, source):
    german = adapters.install(source, language="de", base="smollm2", model="one")
    manifest = german.path / "adapter.json"
    sound = manifest.read_text()
    for text in (
        "",
        "[]",
        "{}",
        "null",
        sound.replace("smollm2-de", "../x"),
        sound.replace("1", "{"),
    ):
        manifest.write_text(text)
        assert adapters.list() == []
    manifest.write_text(sound)
    assert adapters.list() == [german]
    (german.path / "adapter_model.safetensors").unlink()
    assert adapters.list() == []
