"""`pocketlm export`, on the real default model and on a tiny one; misuse and refusals."""

import hashlib
import json
import shutil
import signal
import subprocess
import time

import pytest
from program import PROGRAM, check_refusal

from fuzz import gguf_bytes as make
from pocketlm.errors import Error, OutputError, UnsupportedError
from pocketlm.formats.open import open_checkpoint
from pocketlm.formats.output import new_folder
from pocketlm.serve.pocket import built, offer, site
from quantize import tiny

LLAMA = "llama, grouped and tied"


def test_the_default_model_becomes_a_folder_and_a_file(pocketlm, smollm2, tmp_path):
    folder, file = tmp_path / "folder", tmp_path / "model.gguf"
    result = pocketlm("export", smollm2, "--out", folder)
    assert result.returncode == 0
    assert result.stdout == f"wrote {folder}\n"
    assert result.stderr.splitlines() == [
        "(the source is quantised: what that lost does not come back)",
        "writing folder (269 MB)",
    ]
    assert json.loads((folder / "config.json").read_text())["torch_dtype"] == "float16"
    assert pocketlm("export", folder, "--format", "gguf", "--out", file).returncode == 0
    # What the folder holds is what it gives again; the file says the same when asked.
    question = ("What is the capital of France?", "--temperature", "0", "--max-tokens", "12")
    answers = [pocketlm("run", path, *question).stdout for path in (folder, file)]
    assert answers[0] == answers[1] != ""
    with open_checkpoint(file) as checkpoint, open_checkpoint(smollm2) as source:
        assert checkpoint.tokenizer().fingerprint == source.tokenizer().fingerprint
        assert checkpoint.chat_template == source.chat_template


def test_misuse(pocketlm, tmp_path):
    tiny.save(LLAMA, tmp_path / "source")
    (tmp_path / "out").mkdir()
    check_refusal(
        pocketlm("export", tmp_path / "source", "--out", tmp_path / "out"),
        "is there already; replace it with --force",
    )
    check_refusal(
        pocketlm("export", tmp_path / "source", "--out", tmp_path / "a" / "b"), "no folder"
    )
    check_refusal(
        pocketlm("export", tmp_path / "source", "--out", tmp_path / "b", "--adapter", tmp_path),
        "holds no adapter",
    )
    for wrong in (["--format", "onnx"], ["--dtype", "q4_0"], []):
        refused = pocketlm("export", tmp_path / "source", *wrong)
        assert refused.returncode == 2
    result = pocketlm("export", tmp_path / "source", "--out", tmp_path / "out", "--force")
    assert result.returncode == 0
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda data: data[:-50], "truncated or damaged"),
        (
            lambda data: data.replace(b"blk.0.ffn_up", b"blk.0.ffn_UP"),
            "no tensor 'model.layers.0.mlp.up_proj.weight'",
        ),
    ],
)
def test_damaged_files_are_refused(pocketlm, tmp_path, change, word):
    keys = [*make.shape_keys("llama"), *make.vocabulary()]
    data = bytes(make.gguf_bytes(keys, make.llama_tensors("F16")).data)
    (tmp_path / "model.gguf").write_bytes(change(data))
    for form in ("gguf", "safetensors"):
        result = pocketlm(
            "export", tmp_path / "model.gguf", "--format", form, "--out", tmp_path / "out"
        )
        check_refusal(result, str(tmp_path / "model.gguf"), word)
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


def exporting(environment, smollm2, folder):
    """An export that is being written below `folder`."""
    program = subprocess.Popen(
        [*PROGRAM, "export", str(smollm2), "--out", str(folder / "out"), "--dtype", "f32"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(folder.glob(".out.*.part/model.safetensors")):
        assert program.poll() is None
        time.sleep(0.005)
    return program


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_it_leaves_nothing(environment, smollm2, tmp_path, number):
    program = exporting(environment, smollm2, tmp_path)
    program.send_signal(number)
    _, said = program.communicate(timeout=60)
    assert program.returncode in (128 + number, -number)
    assert "Traceback" not in said
    assert not list(tmp_path.glob("*out*"))


def test_what_a_kill_leaves_goes_with_the_next_attempt(environment, smollm2, tmp_path):
    killed = exporting(environment, smollm2, tmp_path)
    killed.kill()
    killed.communicate()
    (left,) = tmp_path.glob(".out.*.part")
    other = tmp_path / f".out.gguf.{'a' * 12}.part"  # of another output, and of nobody now
    other.touch()
    shutil.move(left, kept := tmp_path / "kept")  # or there would be something to wait for
    program = exporting(environment, smollm2, tmp_path)
    shutil.move(kept, left)
    (under_way,) = (part for part in tmp_path.glob(".out.*.part") if part not in (left, other))
    with new_folder(tmp_path / "out") as made:
        assert not left.exists()
        assert under_way.exists()
        assert other.exists()
        (made / "file").touch()
    program.communicate(timeout=120)
    assert program.returncode == 0
    assert (tmp_path / "out/model.safetensors").exists()
    assert list(tmp_path.glob(".out*")) == [other]


# For browsers

PAGE = ("index.html", "page.js", "style.css", "pocket-simd.wasm", "sw.js")


@pytest.fixture
def page(monkeypatch, tmp_path):
    """Files where `make web` puts them, if none are there."""
    folder = tmp_path / "built"
    folder.mkdir()
    for name in PAGE:
        (folder / name).write_text(f"this is {name}")
    monkeypatch.setattr(built, "FOLDER", folder)
    return folder


def written(source, target, home, **more):
    site.write(source, target, "a model / of mine", home, **more)
    return {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}


def test_a_page_with_the_model_in_pieces(page, smollm2, tmp_path):
    told = []
    target = tmp_path / "site"
    names = written(smollm2, target, tmp_path, progress=lambda *about: told.append(about))
    (entry,) = json.loads((target / "models.json").read_text())
    assert entry["name"] == "a-model-of-mine"
    assert entry["split"] is True
    pieces = [f"{entry['file']}.{index:05d}" for index in range(len(entry["pieces"]))]
    assert names == {*PAGE, "models.json", "README.txt", *pieces}
    whole = hashlib.sha256()
    for name, digest in zip(pieces, entry["pieces"], strict=True):
        data = (target / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest
        assert len(data) <= entry["piece_bytes"] < 25 << 20  # what the strictest host takes
        whole.update(data)
    assert whole.hexdigest() == entry["sha256"]
    assert whole.digest() == hashlib.sha256(smollm2.read_bytes()).digest()
    readme = (target / "README.txt").read_text()
    for words in ("a model / of mine", "https", "http.server", "licences.txt"):
        assert words in readme
    size = smollm2.stat().st_size
    assert told[-1] == ("site", size, size)


def test_only_what_an_export_wrote_is_replaced(page, tmp_path):
    model = tmp_path / "model.gguf"
    keys = [*make.shape_keys("llama"), *make.vocabulary()]
    model.write_bytes(make.gguf_bytes(keys, make.llama_tensors("F16")).data)
    target = tmp_path / "site"
    names = written(model, target, tmp_path)
    with pytest.raises(OutputError, match="--force"):
        written(model, target, tmp_path)
    (target / "old.js").write_text("of another version")
    assert written(model, target, tmp_path, force=True) == names
    for strange in ("notes.doc", "models/mine.gguf"):
        (target / strange).write_text("mine")
        with pytest.raises(OutputError, match="which no export wrote"):
            written(model, target, tmp_path, force=True)
        assert (target / strange).read_text() == "mine"
        (target / strange).unlink()
    with pytest.raises(OutputError, match="not a folder"):
        written(model, model, tmp_path, force=True)
    with pytest.raises(OutputError, match="there is no folder"):
        written(model, tmp_path / "a" / "b", tmp_path)
    assert written(model, target, tmp_path, force=True) == names


def test_what_no_browser_runs_is_refused(page, monkeypatch, tmp_path):
    tiny.save(LLAMA, tmp_path / "folder")
    with pytest.raises(UnsupportedError, match="a browser takes one GGUF file"):
        written(tmp_path / "folder", tmp_path / "site", tmp_path)
    model = tmp_path / "model.gguf"
    keys = [*make.shape_keys("llama"), *make.vocabulary()]
    model.write_bytes(make.gguf_bytes(keys, make.llama_tensors("F16")).data)
    monkeypatch.setattr(offer, "MOST_BYTES", 1000)
    with pytest.raises(UnsupportedError, match="a browser can address 1,000"):
        written(model, tmp_path / "site", tmp_path)
    (page / "sw.js").unlink()
    with pytest.raises(Error, match="make web"):
        written(model, tmp_path / "site", tmp_path)
    assert not list(tmp_path.glob("*site*"))


def test_the_command_for_browsers(pocketlm, tmp_path):
    model = tmp_path / "model.gguf"
    keys = [*make.shape_keys("llama"), *make.vocabulary()]
    model.write_bytes(make.gguf_bytes(keys, make.llama_tensors("F16")).data)
    for more in (["--dtype", "f16"], ["--adapter", tmp_path]):
        result = pocketlm("export", model, "--format", "web", "--out", tmp_path / "site", *more)
        check_refusal(result, "do not go with --format web", code=2)
    result = pocketlm("export", model, "--format", "web", "--out", tmp_path / "site")
    if result.returncode == 1:  # a checkout in which the page was not built
        check_refusal(result, "make web")
        return
    assert result.stdout == f"wrote {tmp_path / 'site'}\n"
    (entry,) = json.loads((tmp_path / "site" / "models.json").read_text())
    assert entry["name"] == "model"
    assert (tmp_path / "site" / "index.html").is_file()
