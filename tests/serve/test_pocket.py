"""/pocket: the page's files, the models that a browser can have and their bytes; who may ask."""

import hashlib
import json
from urllib.parse import quote

import httpx
import pytest
from starlette.testclient import TestClient

from pocketlm.serve.app import make_app
from pocketlm.serve.pocket import built, routes
from pocketlm.serve.settings import Settings

URL = "http://127.0.0.1:8000"
KEY = "a key that nobody guesses"
#: What a browser must be told for a page to be isolated from other sites.
ISOLATED = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
}
PAGE = {
    "index.html": ("text/html; charset=utf-8", b"<!doctype html><title>page</title>"),
    "page.js": ("text/javascript; charset=utf-8", b"export const words = 1;\n" * 50),
    "sw.js": ("text/javascript; charset=utf-8", b"// worker"),
    "pocket-simd.wasm": ("application/wasm", b"\0asm\1\0\0\0"),
    "licences.txt": ("text/plain; charset=utf-8", b"licences"),
    "manifest.webmanifest": ("application/manifest+json", b"{}"),
}


@pytest.fixture(scope="module")
def home(smollm2, tmp_path_factory):
    """A store with the default model, by its name, and a damaged one."""
    home = tmp_path_factory.mktemp("home")
    for name, file in (("smollm2", smollm2), ("broken", None)):
        folder = home / "models" / name
        folder.mkdir(parents=True)
        path = folder / f"{name}.gguf"
        if file is None:
            path.write_bytes(b"GGUF and nothing more")
        else:
            path.symlink_to(file)
        files = {path.name: {"size": path.stat().st_size, "sha256": "0" * 64}}
        manifest = {"name": name, "source": "a test", "files": files}
        (folder / "model.json").write_text(json.dumps(manifest))
    return home


@pytest.fixture
def page(monkeypatch, tmp_path):
    """Files where `make web` puts them."""
    folder = tmp_path / "web"
    folder.mkdir()
    for name, (_, data) in PAGE.items():
        (folder / name).write_bytes(data)
    (folder / "notes.secret").write_text("not the page's")
    monkeypatch.setattr(built, "FOLDER", folder)
    routes.assets.cache_clear()
    yield folder
    routes.assets.cache_clear()


@pytest.fixture
def unbuilt(monkeypatch, tmp_path):
    monkeypatch.setattr(built, "FOLDER", tmp_path / "none")


@pytest.fixture
def client(home, monkeypatch):
    """Ask a server with these settings, as a browser would."""
    monkeypatch.setenv("POCKETLM_HOME", str(home))
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "none"))
    opened = []

    def ask(**settings) -> httpx.Client:
        client = TestClient(make_app(Settings(**settings)), base_url=URL, follow_redirects=False)
        opened.append(client)
        return client.__enter__()

    yield ask
    for each in opened:
        each.__exit__(None, None, None)


# The page


def test_every_file_has_its_type_and_isolates_the_page(client, page):
    ask = client()
    for name, (kind, data) in PAGE.items():
        response = ask.get(f"/pocket/{name}")
        assert response.status_code == 200
        assert response.headers["content-type"] == kind
        assert response.content == data
        assert {key: response.headers[key] for key in ISOLATED} == ISOLATED
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self' 'wasm-unsafe-eval';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "'unsafe-inline'" not in policy
        again = ask.get(f"/pocket/{name}", headers={"If-None-Match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["cross-origin-embedder-policy"] == "require-corp"
    assert ask.get("/pocket/").content == PAGE["index.html"][1]
    assert ask.get("/pocket/page.js").headers["content-encoding"] == "gzip"
    for headers in (ask.get(path).headers for path in ("/", "/v1/models")):
        assert "cross-origin-embedder-policy" not in headers


def test_the_address_that_people_type_leads_there(client, page):
    response = client().get("/pocket")
    assert response.status_code == 307
    assert response.headers["location"] == "/pocket/"


@pytest.mark.parametrize("name", ["notes.secret", "none.js", "..%2fapp.py", "%2e%2e", "page.js/x"])
def test_nothing_else_is_served(client, page, name):
    response = client().get(f"/pocket/{name}")
    assert response.status_code == 404
    assert b"secret" not in response.content


def test_without_it_the_page_says_how_to_get_it(client, unbuilt):
    ask = client()
    response = ask.get("/pocket/")
    assert response.status_code == 404
    assert response.headers["content-type"].startswith("text/html")
    assert "make web" in response.text
    response = ask.get("/pocket/page.js")
    assert response.status_code == 404
    assert "make web" in response.json()["error"]["message"]


# The models


def test_models_that_a_browser_runs_are_listed(client, page, smollm2):
    ask = client()
    (entry,) = ask.get("/pocket/models.json").json()  # and not the damaged one
    data = smollm2.read_bytes()
    assert entry["name"] == "smollm2"
    assert entry["title"] == "SmolLM2-135M-Instruct, 4 bits"
    assert entry["bytes"] == len(data)
    assert entry["sha256"] == hashlib.sha256(data).hexdigest()
    size = entry["piece_bytes"]
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert entry["pieces"] == [hashlib.sha256(piece).hexdigest() for piece in pieces]
    # A piece as a browser fetches it.
    for index in (0, len(pieces) - 1):
        start = index * size
        end = min(start + size, len(data)) - 1
        response = ask.get(f"/pocket/{entry['file']}", headers={"Range": f"bytes={start}-{end}"})
        assert response.status_code == 206
        assert response.headers["content-range"] == f"bytes {start}-{end}/{len(data)}"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["cross-origin-embedder-policy"] == "require-corp"
        assert response.content == pieces[index]
    assert ask.head(f"/pocket/{entry['file']}").headers["content-length"] == str(len(data))


def test_a_model_of_the_command_line_is_listed_once(client, page, home, smollm2):
    # By a name that is no address, beside another name of the same file.
    path = home / "models" / "smollm2" / "smollm2.gguf"
    ask = client(models={"My model / été?": path})
    (entry,) = ask.get("/pocket/models.json").json()
    assert entry["name"] == "My-model-t"
    assert entry["title"] == "My model / été?"
    assert ask.head(f"/pocket/{entry['file']}").status_code == 200


@pytest.mark.parametrize(
    ("name", "headers", "status"),
    [
        ("none.gguf", {}, 404),
        ("smollm2", {}, 404),
        ("broken.gguf", {}, 404),
        ("../../models/smollm2/model.json", {}, 404),
        ("smollm2.gguf", {"Range": "bytes=0-1,5-6"}, 416),
        ("smollm2.gguf", {"Range": "bytes=99999999999-"}, 416),
        ("smollm2.gguf", {"Range": "lines=1-2"}, 400),
    ],
)
def test_what_is_not_there_or_makes_no_sense(client, page, name, headers, status):
    response = client().get(f"/pocket/models/{quote(name, safe='')}", headers=headers)
    assert response.status_code == status


# Who may ask

PUBLIC = ["/pocket", "/pocket/", "/pocket/page.js", "/pocket/sw.js", "/pocket/pocket-simd.wasm"]
KEPT = ["/pocket/models.json", "/pocket/models/smollm2.gguf", "/pocket/%6dodels.json"]


def test_the_models_want_the_key_and_the_page_does_not(client, page):
    ask = client(api_key=KEY)
    for path in PUBLIC:
        assert ask.get(path).status_code in (200, 307)
    for path in KEPT:
        assert ask.get(path).status_code == 401
        assert ask.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
        response = ask.head(path, headers={"Authorization": f"Bearer {KEY}"})
        assert response.status_code == 200


def test_no_other_site_may_ask_and_no_other_name(client, page):
    ask = client()
    for path in (*PUBLIC, *KEPT):
        assert ask.get(path, headers={"Host": "evil.example"}).status_code == 403
        assert ask.get(path, headers={"Origin": "http://evil.example"}).status_code == 403
        for dest in ("iframe", "script", "empty", "worker"):
            headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": dest}
            assert ask.get(path, headers=headers).status_code == 403


def test_a_link_may_be_followed_to_the_page_alone(client, page):
    ask = client()
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
    assert ask.get("/pocket/", headers=headers).status_code == 200
    for path in ("/pocket/models.json", "/pocket/page.js"):
        assert ask.get(path, headers=headers).status_code == 403
