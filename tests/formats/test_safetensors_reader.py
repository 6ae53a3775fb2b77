"""Safetensors: what the library writes is read as it is; each lie in a header is refused."""

import itertools
import json
import os
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

from fuzz.gguf_bytes import BOUNDARIES
from pocketlm.errors import Error, ModelFileError, UnsupportedError
from pocketlm.formats.checkpoint import Tensors
from pocketlm.formats.open import open_checkpoint
from pocketlm.formats.safetensors import read_safetensors

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}


def file_of(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


def read_all(data):
    return dict(Tensors(read_safetensors(data)))


def refused(data, match, kind=ModelFileError):
    with pytest.raises(kind, match=match) as caught:
        read_all(data)
    assert "\n" not in str(caught.value)


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
            lambda name: name != "__metadata__"
        ),
        st.tuples(st.sampled_from(("f4", "f2")), st.lists(st.integers(0, 4), max_size=4)),
        max_size=6,
    )
)
def test_what_the_library_writes(spec):
    rng = np.random.default_rng(1)
    arrays = {name: rng.random(shape).astype(dtype) for name, (dtype, shape) in spec.items()}
    tensors = read_safetensors(save(arrays, {"format": "pt"}))
    assert set(tensors) == set(arrays)
    for name, array in arrays.items():
        tensor = tensors[name]
        assert tensor.type == {"f4": "F32", "f2": "F16"}[array.dtype.str[1:]]
        assert tensor.shape == array.shape
        assert tensor.data.tobytes() == array.tobytes()
        assert not tensor.data.flags.writeable


def test_a_bfloat16_folder_is_mapped(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    weight = torch.arange(12, dtype=torch.bfloat16).reshape(3, 4)
    save_torch({"w": weight}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with open_checkpoint(tmp_path) as checkpoint:
        tensor = checkpoint.tensors["w"]
        assert (checkpoint.kind, tensor.type, tensor.shape) == ("safetensors", "BF16", (3, 4))
        assert tensor.data.tobytes() == weight.view(torch.uint8).numpy().tobytes()
        assert not tensor.data.flags.owndata


def test_data_that_begin_at_an_odd_address_are_copied():
    data = file_of(json.dumps({"a": entry()}).encode() + b" ", struct.pack("<2f", 1, 2))
    found = {
        read_safetensors(file_of(json.dumps({"a": entry()}).encode() + b" " * spaces, data[-8:]))[
            "a"
        ].data.flags.owndata
        for spaces in range(4)
    }
    assert found == {True, False}
    assert read_safetensors(data)["a"].data.view("<f4").tolist() == [1, 2]


def test_length_of_the_header():
    good = {"a": entry()}
    text = json.dumps(good).encode()
    for length in (len(text) - 1, len(text) + 1, 0, 2, 100_000_000, 2**63, 2**64 - 1):
        refused(file_of(good, bytes(8), length), "header|truncated|beyond|belong")
    refused(file_of(good, bytes(8), 100_000_001), "more than safetensors allows")
    refused(b"", "length of the header")
    refused(b"1234567", "length of the header")


def test_truncation_at_every_byte():
    data = file_of({"a": entry(), "b": entry("F16", (1,), (8, 10))}, bytes(10))
    assert len(read_safetensors(data)) == 2
    for length in range(len(data)):
        refused(data[:length], "header|truncated|ends at byte")


def test_a_header_that_is_wrong():
    refused(file_of(b"[]"), "the header: not a JSON object")
    refused(file_of(b"{"), "the header: not valid JSON")
    refused(file_of(b'{"\xff": 1}'), "the header: not valid UTF-8")
    refused(file_of(b'{"a": 1, "a": 2}'), "the header: holds the key 'a' twice")
    refused(file_of({"a": 1}), "'a' is not described by dtype, shape and data_offsets")
    refused(file_of({"a": entry(more=1)}, bytes(8)), "'a' is not described by")
    refused(file_of({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)), "'a' is not described by")
    refused(file_of(b'{"a": {"dtype": "F32", "shape": NaN}}'), "holds NaN")
    refused(file_of({"a": entry(dtype=4)}, bytes(8)), "dtype of tensor 'a' is not a string")


def test_overlaps_gaps_and_sizes():
    twice = {"a": entry(), "b": entry(offsets=(4, 12))}
    refused(file_of(twice, bytes(12)), "'b' overlaps the tensor before it")
    gap = {"a": entry(), "b": entry(offsets=(12, 20))}
    refused(file_of(gap, bytes(20)), "'b' leaves a gap before it")
    refused(file_of({"a": entry(offsets=(4, 12))}, bytes(12)), "'a' leaves a gap before it")
    refused(file_of({"a": entry()}, bytes(9)), "1 bytes after the last tensor belong to none")
    refused(file_of({"a": entry()}, bytes(7)), "'a' ends at byte 8 of 7")
    refused(file_of({"a": entry(offsets=(0, 4))}, bytes(4)), "'a' has 4 bytes, expected 8 for F32")
    refused(file_of({"a": entry(offsets=(8, 0))}, bytes(8)), "not a beginning and an end")
    refused(file_of({"a": entry(offsets=(0, 4, 8))}, bytes(8)), "not a beginning and an end")
    refused(file_of({"a": entry(shape=(2**32, 2**32, 0))}, bytes(8)), "out of range")
    # 2^62 numbers of 4 bytes are 0 bytes to whoever counts in 64 bits.
    refused(file_of({"a": entry(shape=(2**62,), offsets=(0, 0))}), "out of range")


@pytest.mark.parametrize("value", [-1, 2**63, 2**64, 1.0, True, None, "1", [1], {}])
def test_sizes_that_are_none(value):
    refused(file_of({"a": entry(shape=(value,))}, bytes(8)), "shape of tensor 'a' is not a list")
    refused(file_of({"a": entry(offsets=(0, value))}, bytes(8)), "data_offsets of .* not a list")


def test_each_integer_at_each_boundary():
    tracemalloc.start()
    base = {"a": [2, 2, 0, 16], "b": [4, 1, 16, 24]}
    refusals = 0
    for name, place, value in itertools.product(base, range(4), BOUNDARIES):
        numbers = {key: list(values) for key, values in base.items()}
        numbers[name][place] = value
        header = {
            key: entry("F32" if key == "a" else "F16", values[:2], values[2:])
            for key, values in numbers.items()
        }
        try:
            read_safetensors(file_of(header, bytes(24)))
        except Error:
            refusals += 1
    for value in BOUNDARIES:
        refused(file_of({"a": entry()}, bytes(8), value), "header")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refusals > 70
    assert peak < 4 << 20


@pytest.mark.parametrize(("dtype", "width"), [("I64", 8), ("F64", 8), ("F8_E4M3", 1), ("BOOL", 1)])
def test_other_types_are_refused_by_name_when_wanted(dtype, width):
    header = {
        "a": entry(dtype, (2,), (0, 2 * width)),
        "b": entry(offsets=(2 * width, 2 * width + 8)),
    }
    tensors = Tensors(read_safetensors(file_of(header, bytes(2 * width + 8))))
    assert tensors["b"].nbytes == 8
    with pytest.raises(UnsupportedError, match=f"'a' is stored as {dtype}, which is not supported"):
        tensors.get("a")
    refused(file_of({"a": entry(dtype, (3,), (0, 2 * width))}, bytes(2 * width)), "expected")


def test_a_type_that_nobody_knows():
    refused(file_of({"a": entry("F4\n", (3,))}, bytes(8)), r"'F4\\n'", UnsupportedError)


@pytest.mark.parametrize("depth", [10**2, 10**3, 10**4, 10**5, 10**6])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_depth_bombs(opening, depth):
    refused(file_of(b'{"a":' + opening * depth), "nested too deep|not valid JSON|JSON values")


def test_a_header_of_too_many_values():
    refused(file_of(b'{"a":[' + b"[]," * 1_000_000 + b"1]}"), "holds more than 500000 JSON values")


def sharded(folder, index=None):
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    save_file({"a": np.ones(3, np.float32)}, folder / first)
    save_file({"b": np.ones(2, np.float16)}, folder / second)
    index = {"weight_map": {"a": first, "b": second}} if index is None else index
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def test_shards(tmp_path):
    with open_checkpoint(sharded(tmp_path)) as checkpoint:
        assert {name: tensor.type for name, tensor in checkpoint.tensors.items()} == {
            "a": "F32",
            "b": "F16",
        }


@pytest.mark.parametrize(
    "name",
    [
        "../model.safetensors",
        "/etc/passwd",
        "/tmp/model.safetensors",
        "..\\model.safetensors",
        "sub/model.safetensors",
        "C:model.safetensors",
        ".safetensors",
        "model.bin",
        "model.safetensors\n",
        "model\0.safetensors",
        "mödel.safetensors",
        "",
        7,
        None,
        ["model.safetensors"],
    ],
)
def test_an_index_that_leads_out_of_the_folder(tmp_path, name):
    folder = sharded(tmp_path, {"weight_map": {"a": name}})
    with pytest.raises(ModelFileError, match="not a safetensors file beside it") as caught:
        open_checkpoint(folder)
    assert "\n" not in str(caught.value)


def test_an_index_that_is_wrong(tmp_path):
    first = "model-00001-of-00002.safetensors"
    for index, match in (
        ({}, "weight_map is missing"),
        ({"weight_map": []}, "weight_map is missing"),
        ({"weight_map": {}}, "weight_map is missing"),
        ({"weight_map": {"b": first}}, f"tensor 'b' is not in {first}"),
        ({"weight_map": {"a": "model-3.safetensors"}}, "model-3.safetensors: No such file"),
    ):
        with pytest.raises(ModelFileError, match=match):
            open_checkpoint(sharded(tmp_path, index))


def test_one_file_of_any_name_will_do_and_two_will_not(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    save_file({"a": np.ones(3, np.float32)}, tmp_path / "weights.safetensors")
    assert list(open_checkpoint(tmp_path).tensors) == ["a"]
    save_file({"a": np.ones(3, np.float32)}, tmp_path / "more.safetensors")
    with pytest.raises(ModelFileError, match=r"2 safetensors files but neither model\.safetensors"):
        open_checkpoint(tmp_path)


def test_a_weights_file_that_is_empty_or_no_file(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    path = tmp_path / "model.safetensors"
    path.touch()
    with pytest.raises(ModelFileError, match=r"model\.safetensors: the file is empty"):
        open_checkpoint(tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ModelFileError, match=r"model\.safetensors: not a regular file"):
        open_checkpoint(tmp_path)
