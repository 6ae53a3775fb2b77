"""Downloads: whole and checked or not at all, and resumed where they stopped."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketlm.errors import StoreError
from pocketlm.store import download
from pocketlm.store.download import Digest, check_space, fetch

BODY = os.urandom(3_000_000)


def digest(body: bytes) -> Digest:
    return Digest("sha256", hashlib.sha256(body).hexdigest())


def bring(server, destination: Path, body: bytes = BODY, **options) -> None:
    server.files.setdefault("file", body)
    fetch(f"{server.url}/file", destination, size=len(body), digest=digest(body), **options)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_brings_a_file_and_tells_how_far_it_is(server, tmp_path):
    seen = []
    bring(server, tmp_path / "a.gguf", progress=lambda *state: seen.append(state))
    assert (tmp_path / "a.gguf").read_bytes() == BODY
    assert leftovers(tmp_path) == ["a.gguf"]
    assert seen[-1] == ("a.gguf", len(BODY), len(BODY))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_goes_on_after_broken_connections(server, tmp_path):
    server.cut_after, server.cuts = 1_000_000, 2
    bring(server, tmp_path / "a.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == BODY
    asked = [headers.get("Range") for _, headers in server.requests]
    assert asked == [None, "bytes=1000000-", "bytes=2000000-"]
    assert server.requests[1][1]["If-Range"] == '"v1"'


def test_goes_on_after_the_process_was_killed(server, tmp_path):
    server.stall_after = 1_500_000
    server.files["file"] = BODY
    target = tmp_path / "a.gguf"
    program = (
        "import sys; from pathlib import Path; from pocketlm.store.download import *\n"
        "fetch(sys.argv[1], Path(sys.argv[2]), size=int(sys.argv[3]),"
        " digest=Digest('sha256', sys.argv[4]))"
    )
    command = [sys.executable, "-c", program, f"{server.url}/file", str(target), str(len(BODY))]
    process = subprocess.Popen([*command, digest(BODY).value])
    assert server.stalled.wait(30)
    part = target.with_name("a.gguf.part")
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    server.resume.set()
    kept = part.stat().st_size
    assert 0 < kept <= 1_500_000
    assert not target.exists()
    server.stall_after = None
    bring(server, target)
    assert target.read_bytes() == BODY
    assert server.requests[-1][1]["Range"] == f"bytes={kept}-"


@pytest.mark.parametrize("stopped_at", [0, 1, 1_000_000, len(BODY) - 1, len(BODY)])
def test_resumes_a_part(server, tmp_path, stopped_at):
    (tmp_path / "a.gguf.part").write_bytes(BODY[:stopped_at])
    (tmp_path / "a.gguf.validator").write_text('"v1"')
    bring(server, tmp_path / "a.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == BODY
    assert leftovers(tmp_path) == ["a.gguf"]
    if stopped_at == len(BODY):
        assert server.requests == []
    elif stopped_at:
        assert server.requests[0][1]["Range"] == f"bytes={stopped_at}-"


def test_starts_again_when_the_server_has_another_version(server, tmp_path):
    (tmp_path / "a.gguf.part").write_bytes(b"of an older version")
    (tmp_path / "a.gguf.validator").write_text('"v0"')
    bring(server, tmp_path / "a.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == BODY
    assert len(server.requests) == 1


def test_starts_again_when_a_resumed_file_has_a_bad_checksum(server, tmp_path):
    server.etag = None
    (tmp_path / "a.gguf.part").write_bytes(b"of an older version")
    bring(server, tmp_path / "a.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == BODY
    assert [headers.get("Range") for _, headers in server.requests] == ["bytes=19-", None]


def test_a_part_longer_than_the_file_is_not_trusted(server, tmp_path):
    (tmp_path / "a.gguf.part").write_bytes(BODY + b"more")
    bring(server, tmp_path / "a.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == BODY


def test_a_server_without_ranges(server, tmp_path):
    server.ranges = False
    (tmp_path / "a.gguf.part").write_bytes(BODY[:1_000])
    bring(server, tmp_path / "a.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == BODY


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cut=st.integers(1, 5_000), cuts=st.integers(0, 4), ranges=st.booleans(), tagged=st.booleans()
)
def test_any_pattern_of_cuts_gives_the_file(
    server, tmp_path, monkeypatch, cut, cuts, ranges, tagged
):
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    body = BODY[:12_345]
    server.files["file"] = body
    server.cut_after, server.cuts, server.ranges = cut, cuts, ranges
    server.etag = '"v1"' if tagged else None
    target = tmp_path / "any.gguf"
    target.unlink(missing_ok=True)
    fetch(f"{server.url}/file", target, size=len(body), digest=digest(body))
    assert target.read_bytes() == body


def test_a_file_that_is_there_is_not_fetched(server, tmp_path):
    (tmp_path / "a.gguf").write_bytes(BODY)
    bring(server, tmp_path / "a.gguf")
    assert server.requests == []


def test_a_bad_checksum_keeps_nothing(server, tmp_path):
    server.files["file"] = BODY[:-1] + bytes([BODY[-1] ^ 1])
    with pytest.raises(StoreError, match="bad checksum"):
        bring(server, tmp_path / "a.gguf")
    assert leftovers(tmp_path) == []


def test_a_longer_file_is_refused(server, tmp_path):
    server.files["file"] = BODY + b"!"
    with pytest.raises(StoreError, match="longer than"):
        bring(server, tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()


def test_a_shorter_file_is_refused_and_kept_for_the_next_try(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_ATTEMPTS", 2)
    server.files["file"] = BODY[:-1]
    server.ranges = False
    with pytest.raises(StoreError, match="run it again"):
        bring(server, tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()


def test_passing_trouble_of_the_server_is_waited_out(server, tmp_path):
    server.statuses = [503, 429]
    bring(server, tmp_path / "a.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == BODY


@pytest.mark.parametrize(("status", "word"), [(404, "404"), (401, "login"), (403, "login")])
def test_a_refusal_is_told(server, tmp_path, status, word):
    server.statuses = [status]
    with pytest.raises(StoreError, match=word) as caught:
        bring(server, tmp_path / "a.gguf")
    assert "\n" not in str(caught.value)


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_ATTEMPTS", 2)
    with pytest.raises(StoreError, match=r"no network to 127\.0\.0\.1:9"):
        fetch("http://127.0.0.1:9/file", tmp_path / "a", size=1, digest=digest(b"a"))


def test_a_redirect_to_another_host_does_not_carry_the_login(server, tmp_path):
    port = server.url.rpartition(":")[2]
    server.redirects = {"/there": f"http://localhost:{port}/file"}
    server.files["file"] = BODY
    fetch(
        f"{server.url}/there",
        tmp_path / "a",
        size=len(BODY),
        digest=digest(BODY),
        headers={"Authorization": "Bearer x"},
    )
    sent = [headers.get("Authorization") for _, headers in server.requests]
    assert sent == ["Bearer x", None]


def test_a_redirect_to_a_file_is_not_followed(server, tmp_path):
    server.redirects = {"/file": "file:///etc/passwd"}
    with pytest.raises(StoreError, match=r"not (followed|allowed)"):
        bring(server, tmp_path / "a")


def test_too_little_space_is_told_before_anything_comes(tmp_path):
    with pytest.raises(StoreError, match="no space in"):
        check_space(tmp_path, 1 << 60)


def test_a_full_disk(server, tmp_path):
    """A real one: a file system of one megabyte, in a namespace of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    server.files["file"] = BODY
    program = (
        "import sys; from pathlib import Path; from pocketlm.store.download import *\n"
        "try: fetch(sys.argv[1], Path(sys.argv[2]), size=int(sys.argv[3]),"
        " digest=Digest('sha256', sys.argv[4]))\n"
        "except Exception as e: print(type(e).__name__, e)"
    )
    script = 'mount -t tmpfs -o size=1m tmpfs "$1" && shift && exec "$@"'
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"]).returncode != 0:
        pytest.skip("this system gives no mount namespace")
    command = [sys.executable, "-c", program, f"{server.url}/file", str(disk / "a")]
    result = subprocess.run(
        [
            unshare,
            "-rm",
            "sh",
            "-c",
            script,
            "sh",
            str(disk),
            *command,
            str(len(BODY)),
            digest(BODY).value,
        ],
        capture_output=True,
        text=True,
    )
    assert result.stdout.startswith("StoreError the disk is full"), result


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match="cannot write"):
        bring(server, tmp_path / "file" / "a.gguf")
