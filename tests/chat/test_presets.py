"""Presets are kept, read and refused."""

import pytest

from pocketlm.chat.presets import Preset, Presets, read
from pocketlm.errors import ParameterError, StoreError

PIRATE = Preset(
    "smollm2", 'You are a "pirate".\nArr: ö\\', {"temperature": 0.7, "stop": ["a", "b"]}
)


@pytest.fixture
def presets(tmp_path):
    return Presets(tmp_path / "presets")


def test_what_is_kept_is_found_again(presets):
    assert presets.names() == []
    assert presets.get("pirate") is None
    path = presets.save("pirate", PIRATE)
    assert presets.get("pirate") == PIRATE == read(path)
    presets.save("pirate", Preset("phi3"))
    assert presets.get("pirate") == Preset("phi3")
    assert presets.names() == ["pirate"]
    assert [each.name for each in presets.folder.iterdir()] == ["pirate.toml"]
    presets.remove("pirate")
    assert presets.names() == []
    with pytest.raises(StoreError, match="pirate"):
        presets.remove("pirate")


@pytest.mark.parametrize(
    "name", ["../pirate", "a/b", "", ".", "a" * 65, "-a", "a.toml", "ö", "a\0"]
)
def test_a_name_is_no_path(presets, name):
    presets.save("pirate", PIRATE)
    assert presets.get(name) is None
    with pytest.raises(ParameterError):
        presets.save(name, PIRATE)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "names no model"),
        ("model = 3", "names no model"),
        ('model = "a"\ncolour = "red"', "colour"),
        ('model = "a"\nsystem = 3', "system"),
        ('model = "a"\n[sampling]\nheat = 1', "sampling"),
        ('model = "a"\n[sampling]\ntemperature = -1', "temperature"),
        ('model = "a"\n[sampling]\nlogprobs = 1', "sampling"),
        ('model = "a', "TOML"),
        ("a = " + "[" * 10**5, "TOML"),
    ],
)
def test_what_is_no_preset_is_refused(presets, text, word):
    presets.folder.mkdir()
    (presets.folder / "x.toml").write_text(text)
    with pytest.raises(StoreError, match=word):
        presets.get("x")


def test_a_file_that_is_no_text_or_too_large_is_refused(presets):
    presets.folder.mkdir()
    (presets.folder / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(StoreError):
        presets.get("x")
    (presets.folder / "x.toml").write_bytes(b"#" * (1 << 19))
    with pytest.raises(StoreError, match="bytes"):
        presets.get("x")
