"""The page's own files: small, compressed, cached, whole, and all from here."""

import gzip
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import pocketlm
from pocketlm.serve.ui.files import assets

FOLDER = Path(pocketlm.__file__).parent / "serve" / "page"


def test_all_together_are_under_200_kilobytes_compressed():
    found = assets()
    assert {path.name for path in FOLDER.iterdir()} == set(found)
    total = sum(min(len(each.compressed), len(each.data)) for each in found.values())
    assert total < 200_000
    assert {"index.html", "app.js", "style.css", "icon.svg", "manifest.webmanifest"} <= set(found)


@pytest.mark.parametrize("name", sorted(assets()))
def test_files_are_served_and_cached(server, name):
    path = "/" if name == "index.html" else f"/page/{name}"
    response = server.http.get(path, headers={"Accept-Encoding": "identity"})
    assert response.status_code == 200
    assert response.content == (FOLDER / name).read_bytes()
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["content-type"] == assets()[name].kind
    assert "content-encoding" not in response.headers
    compressed = server.http.get(path, headers={"Accept-Encoding": "br, gzip;q=0.9"})
    assert compressed.content == response.content
    same = server.http.get(path, headers={"If-None-Match": response.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")


def test_text_goes_compressed(server):
    with server.http.stream("GET", "/", headers={"Accept-Encoding": "gzip"}) as response:
        assert response.headers["content-encoding"] == "gzip"
        assert (
            gzip.decompress(b"".join(response.iter_raw())) == (FOLDER / "index.html").read_bytes()
        )


@pytest.mark.parametrize("path", ["/page/none", "/page/", "/page/../ui/files.py", "/page/%2e%2e/x"])
def test_nothing_else_is_served(server, path):
    assert server.http.get(path).status_code == 404


def test_nothing_is_from_elsewhere():
    for path in FOLDER.iterdir():
        if path.suffix == ".png":
            continue
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//[a-z]+\.[a-z]", text), path
        assert (
            not re.search(r"\bon[a-z]+=|javascript:|style=", text.lower()) or path.suffix == ".js"
        )
    page = (FOLDER / "index.html").read_text()
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert address.startswith(("/page/", "#")), address
        if address.startswith("/page/"):
            assert address.removeprefix("/page/") in assets()
    assert not re.search(r"<script(?![^>]*src=)", page)
    manifest = json.loads((FOLDER / "manifest.webmanifest").read_text())
    assert all(icon["src"].removeprefix("/page/") in assets() for icon in manifest["icons"])
    assert manifest["start_url"] == manifest["scope"] == "/"


@pytest.mark.slow
def test_a_wheel_holds_them(tmp_path):
    """As it is installed elsewhere; the native part is left out, which takes minutes."""
    root = Path(__file__).parents[2]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"),
            *(str(tmp_path), "--config-settings=wheel.cmake=false", str(root)),
        ],
        check=True,
        timeout=280,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"pocketlm/serve/page/{path.name}" for path in FOLDER.iterdir()} <= names
