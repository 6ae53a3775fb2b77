"""Opening by path: what is there is found, what is not is said on one line, parts are joined."""

import os
import subprocess
import sys
import time

import gguf
import numpy as np
import pytest

from fuzz import gguf_bytes as make
from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.formats.open import open_checkpoint


def write_gguf(path, name="one"):
    metadata = [("general.architecture", make.TEXT, "llama"), ("general.name", make.TEXT, name)]
    path.write_bytes(make.gguf_bytes(metadata, [("token_embd.weight", "F32", (2, 4))]).data)
    return path


def refused(path, match, kind=ModelFileError):
    with pytest.raises(kind, match=match) as caught:
        open_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message


def test_a_file_and_the_folder_that_holds_it_alone(tmp_path):
    path = write_gguf(tmp_path / "m.gguf")
    for place in (path, tmp_path):
        with open_checkpoint(place) as checkpoint:
            assert checkpoint.kind == "gguf"
            assert checkpoint.path == path
            assert checkpoint.config["model_type"] == "llama"
    assert not checkpoint.tensors


def test_the_ending_of_a_name_does_not_matter(tmp_path):
    blob = write_gguf(tmp_path / "sha256-0123")
    (tmp_path / "link.bin").symlink_to(blob)
    assert open_checkpoint(blob).tensors
    assert open_checkpoint(tmp_path / "link.bin").tensors


def test_nothing_there(tmp_path):
    refused(tmp_path / "none.gguf", "no such file or folder")
    refused(tmp_path, "the folder holds no model")
    (tmp_path / "config.json").write_text("{}")
    refused(tmp_path, "a config.json but no safetensors or GGUF file")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    refused(tmp_path / "link", "no such file or folder")
    refused(tmp_path / ("x" * 300), "name too long")


def test_safetensors_without_their_configuration(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"x")
    refused(tmp_path, "safetensors files but no config.json")
    refused(tmp_path / "model.safetensors", "name the folder that holds it")


def test_several_models_in_a_folder(tmp_path):
    for name in "abcdef":
        write_gguf(tmp_path / f"{name}.gguf")
    refused(tmp_path, r"holds 6 GGUF files, name one: a.gguf, b.gguf, c.gguf, d.gguf, …")


@pytest.mark.parametrize(
    ("content", "match", "kind"),
    [
        (b"", "the file is empty", ModelFileError),
        (b"G", r"not a GGUF file: it begins with b'G', expected b'GGUF'", ModelFileError),
        (b"GGUX" + bytes(99), r"begins with b'GGUX'", ModelFileError),
        (b"GGUF", "the version ends at byte 8 of 4; the file is truncated", ModelFileError),
        (b"PK\x03\x04rest", "a PyTorch or zip file", UnsupportedError),
        (b"\x80\x02}q", "a pickle file", UnsupportedError),
        (b"tjgg\3\0\0\0", "before GGUF", UnsupportedError),
        (b"<!doctype html>", "a web page", UnsupportedError),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer", UnsupportedError),
    ],
)
def test_files_that_are_no_gguf(tmp_path, content, match, kind):
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    refused(path, match, kind)


def test_what_is_neither_file_nor_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "not a regular file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = write_gguf(tmp_path / "m.gguf")
    path.chmod(0)
    refused(path, "Permission denied")


def split(folder, count=3):
    writer = gguf.GGUFWriter(folder / "m.gguf", "llama", split_max_tensors=1)
    for number in range(count):
        writer.add_tensor(f"blk.{number}.attn_norm.weight", np.full(4, number, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return [folder / f"m-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]


def test_the_parts_of_a_split_file(tmp_path):
    parts = split(tmp_path)
    for place in (*parts, tmp_path):
        with open_checkpoint(place) as checkpoint:
            values = [tensor.data.view("<f4")[0] for tensor in checkpoint.tensors.values()]
            assert values == [0, 1, 2]
            assert checkpoint.config["model_type"] == "llama"


def test_parts_that_do_not_belong_together(tmp_path):
    first, second, third = split(tmp_path)
    content = second.read_bytes()
    second.write_bytes(third.read_bytes())
    refused(first, "part 2 says that it is another")
    second.write_bytes(first.read_bytes())
    refused(first, "part 2 says that it is another")
    second.unlink()
    with pytest.raises(ModelFileError, match=r"m-00002-of-00003.gguf: No such file"):
        open_checkpoint(first)
    second.write_bytes(content)
    renamed = tmp_path / "renamed.gguf"
    renamed.write_bytes(first.read_bytes())
    refused(renamed, "the file is in 3 parts, expected 1 by its name")
    write_gguf(tmp_path / "x-00001-of-00001.gguf")
    assert open_checkpoint(tmp_path / "x-00001-of-00001.gguf").tensors
    write_gguf(tmp_path / "y-00001-of-00002.gguf")
    write_gguf(tmp_path / "y-00002-of-00002.gguf")
    refused(tmp_path / "y-00001-of-00002.gguf", "in 1 parts, expected 2 by its name")
    for odd in ("z-00000-of-00000.gguf", "z-00003-of-00002.gguf"):
        assert open_checkpoint(write_gguf(tmp_path / odd)).tensors


def write_parts(folder, names, tensors_count):
    for number, name in enumerate(names):
        metadata = [
            ("general.architecture", make.TEXT, "llama"),
            ("split.no", make.U16, number),
            ("split.count", make.U16, len(names)),
            ("split.tensors.count", make.I32, tensors_count),
        ]
        path = folder / f"m-{number + 1:05}-of-{len(names):05}.gguf"
        path.write_bytes(make.gguf_bytes(metadata, [(name, "F32", (4,))]).data)
    return folder / f"m-00001-of-{len(names):05}.gguf"


def test_parts_that_hold_too_much_or_too_little(tmp_path):
    assert len(open_checkpoint(write_parts(tmp_path, ["a", "b"], 2)).tensors) == 2
    refused(write_parts(tmp_path, ["a", "a"], 2), "tensor 'a' is in two parts")
    refused(write_parts(tmp_path, ["a", "b"], 3), "the parts hold 2 tensors, expected 3")


def test_the_tokenizer_is_the_checkpoints_own(smollm2, tmp_path):
    with open_checkpoint(smollm2) as checkpoint:
        assert checkpoint.tokenizer().encode("Hello world") == [19556, 905]
    with pytest.raises(ModelFileError) as caught:
        open_checkpoint(write_gguf(tmp_path / "m.gguf")).tokenizer()
    assert str(caught.value).startswith(str(tmp_path / "m.gguf"))


def test_opening_the_real_model_is_quick(smollm2):
    code = (
        "import sys, time, pathlib\n"
        "from pocketlm.formats.open import open_checkpoint\n"
        "begin = time.process_time()\n"
        "open_checkpoint(pathlib.Path(sys.argv[1]))\n"
        "print(time.process_time() - begin)\n"
        "print(*(name for name in ('gguf', 'tokenizers', 'jinja2') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(smollm2)], capture_output=True, text=True, check=True
    )
    seconds, _, imported = done.stdout.partition("\n")
    assert float(seconds) < 0.05
    assert imported.strip() == ""


@pytest.mark.parametrize("reader", ["gguf", "safetensors"])
def test_the_fuzzers_run(reader, tmp_path, request):
    script = request.path.parents[1] / "fuzz" / f"fuzz_{reader}.py"
    seed = str(time.time_ns() % 1_000_000)
    command = [sys.executable, str(script), "--count", "2000", "--seed", seed]
    done = subprocess.run(
        [*command, "--keep", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{reader}: 2,000 inputs" in done.stdout
