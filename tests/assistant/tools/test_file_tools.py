"""Reading below granted folders: what is there, and no way out."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from pocketlm.assistant.tools import files
from pocketlm.assistant.tools.files import Grants, list_folder, read_file
from pocketlm.errors import Error, ParameterError


@pytest.fixture
def place(tmp_path):
    """A granted folder `docs`, and a secret beside it with ways that lead there."""
    docs = tmp_path / "docs"
    (docs / "deep" / "er").mkdir(parents=True)
    (docs / "a.txt").write_text("hello")
    (docs / "deep" / "b.md").write_text("# deep")
    (docs / "deep" / "er" / "c.txt").write_text("deeper")
    (tmp_path / "secret.txt").write_text("SECRET")
    (tmp_path / "docs2").mkdir()
    (tmp_path / "docs2" / "x.txt").write_text("SECRET")
    (docs / "link.txt").symlink_to(tmp_path / "secret.txt")
    (docs / "up").symlink_to("..")
    (docs / "deep" / "root").symlink_to("/")
    (docs / "loop").symlink_to("loop")
    (docs / "inner.txt").symlink_to("a.txt")
    return docs


@pytest.fixture
def grants(place):
    held = Grants([place])
    yield held
    held.close()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("docs/a.txt", "hello"), ("a.txt", "hello"), ("docs/deep/b.md", "# deep"),
        ("./docs//deep/./er/c.txt", "deeper"), ("deep/b.md", "# deep"),
    ],
)  # fmt: skip
def test_files_below_are_read(grants, path, text):
    assert read_file(grants, path) == text


def test_a_path_of_this_machine_is_known(grants, place):
    assert read_file(grants, str(place / "a.txt")) == "hello"


ESCAPES = [
    "../secret.txt", "docs/../secret.txt", "docs/../../etc/passwd", "/etc/passwd", "/etc/shadow",
    "docs/link.txt", "link.txt", "docs/up/secret.txt", "up/secret.txt", "docs/deep/root/etc/passwd",
    "docs/loop", "docs/inner.txt", "docs2/x.txt", "../docs2/x.txt", "/proc/self/environ",
    "/proc/self/root/etc/passwd", "/proc/1/environ", "/dev/zero", "/dev/stdin", "/dev/fd/0",
    "~/.ssh/id_rsa", "docs/~/.bashrc", "file:///etc/passwd", "docs/..%2fsecret.txt",
    "docs/..\\secret.txt",
    "docs/a.txt/../a.txt", "docs/deep", "docs", "", "x" * 2000, "a\0b", "docs/a.txt\0",
    "docs/" + "deep/" * 60, "..", "/", "docs/deep/../../secret.txt", "docs\n/a.txt",
    "\u2025/secret.txt",
    "docs/.\u200b./secret.txt", "DOCS/../secret.txt", "/docs/a.txt", "//etc/passwd",
    "docs/up/docs/a.txt",
]  # fmt: skip


@pytest.mark.parametrize("path", ESCAPES)
def test_no_path_leads_out(grants, path):
    with pytest.raises(Error) as caught:
        read_file(grants, path)
    assert "SECRET" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("path", ["docs/up", "docs/deep/root", "..", "/etc", "/", "/proc", "docs2"])
def test_no_folder_outside_is_listed(grants, path):
    with pytest.raises(Error):
        list_folder(grants, path)


def test_a_path_of_this_machine_that_begins_alike_is_none(grants, place):
    with pytest.raises(ParameterError, match="not within"):
        read_file(grants, f"{place}2/x.txt")


def test_a_link_is_named_as_the_reason(grants):
    with pytest.raises(Error, match="link"):
        read_file(grants, "docs/link.txt")
    with pytest.raises(Error, match="link"):
        read_file(grants, "docs/up/secret.txt")


def test_pipes_sockets_and_devices_are_no_files(grants, place):
    os.mkfifo(place / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(place / "sock"))
    start = time.monotonic()
    for name in ("pipe", "sock"):
        with pytest.raises(Error):
            read_file(grants, name)
    assert time.monotonic() - start < 1


def test_large_growing_and_binary_files_are_refused(grants, place, monkeypatch):
    with (place / "large").open("wb") as file:
        file.truncate(files.MOST_BYTES + 1)
    with pytest.raises(Error, match="bytes"):
        read_file(grants, "large")
    (place / "binary").write_bytes(b"a\0b")
    with pytest.raises(Error, match="zero bytes"):
        read_file(grants, "binary")
    (place / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(Error, match="UTF-8"):
        read_file(grants, "latin")
    monkeypatch.setattr(files, "MOST_BYTES", 4)
    with pytest.raises(Error, match="5 bytes"):
        read_file(grants, "a.txt")


def test_a_long_file_is_read_in_parts_that_say_so(grants, place):
    text = "".join(f"{n:09}\n" for n in range(2000))
    (place / "long.txt").write_text(text)
    first = read_file(grants, "long.txt")
    assert first.endswith("[12,000 more characters: read on from start 8000]")
    second = read_file(grants, "long.txt", 8000)
    third = read_file(grants, "long.txt", 16000)
    assert first.rpartition("\n[")[0] + second.rpartition("\n[")[0] + third == text
    with pytest.raises(ParameterError, match="20,000"):
        read_file(grants, "long.txt", 20000)


def test_a_folder_is_listed_without_following_anything(grants, place):
    (place / "two\nlines\x1b[31m").write_text("")
    listed = list_folder(grants, "docs").splitlines()
    assert "a.txt" in listed
    assert "deep/" in listed
    assert "link.txt (a link, or no plain file)" in listed
    assert "two\ufffdlines\ufffd[31m" in listed
    assert list_folder(grants, "docs/deep/er") == "c.txt"
    for number in range(files.MOST_NAMES):
        (place / "deep" / "er" / f"n{number}").touch()
    assert list_folder(grants, "docs/deep/er").endswith("[1 more]")


def test_no_exchange_of_folder_and_link_lets_anything_out(grants, place, tmp_path):
    """A part of the path is now a folder, now a link that leads out, as fast as can be."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "c.txt").write_text("SECRET")
    (place / "swap").mkdir()
    (place / "swap" / "c.txt").write_text("fine")
    (place / "way-out").symlink_to(outside)
    ended = threading.Event()

    def exchange() -> None:
        while not ended.is_set():
            os.rename(place / "swap", place / "kept")
            os.rename(place / "way-out", place / "swap")
            os.rename(place / "swap", place / "way-out")
            os.rename(place / "kept", place / "swap")

    thread = threading.Thread(target=exchange)
    thread.start()
    found = set()
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        try:
            found.add(read_file(grants, "docs/swap/c.txt"))
        except Error:
            found.add("refused")
    ended.set()
    thread.join()
    assert "SECRET" not in found
    assert "fine" in found


@pytest.mark.parametrize("folder", ["/", "/proc", "/dev", "/sys/kernel", "/proc/self"])
def test_folders_that_are_never_granted(folder):
    with pytest.raises(ParameterError, match="cannot"):
        Grants([Path(folder)])


def test_what_is_no_folder_is_not_granted(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "none"):
        with pytest.raises(ParameterError, match="cannot grant"):
            Grants([path])


def test_two_folders_of_one_name_keep_apart(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "docs").mkdir(parents=True)
        (tmp_path / name / "docs" / "a").write_text(name)
    held = Grants([tmp_path / "one" / "docs", tmp_path / "two" / "docs"])
    assert held.names == ["docs", "docs+"]
    assert read_file(held, "docs/a") == "one"
    assert read_file(held, "docs+/a") == "two"
    with pytest.raises(ParameterError, match="granted: docs, docs\\+"):
        read_file(held, "a")
    held.close()


def test_the_skills(grants):
    read, listing = files.skills(grants)
    assert (read.tool.name, listing.tool.name) == ("read_file", "list_folder")
    assert not read.effects
    assert read.run({"path": "docs/a.txt", "start": 1}) == "ello"
    assert "a.txt" in listing.run({"path": "docs"})
