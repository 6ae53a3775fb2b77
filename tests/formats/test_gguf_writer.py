"""GGUF files of ours: what we write, we and the package gguf read back, to the bit."""

import shutil

import gguf
import numpy as np
import pytest

from fuzz import gguf_bytes as make
from pocketlm.errors import OutputError
from pocketlm.formats.checkpoint import map_file
from pocketlm.formats.gguf import Texts, read_gguf
from pocketlm.formats.gguf_writer import GGUFWriter, NewTensor

F32, Q8_0, I8 = 0, 8, 24

METADATA = {
    "general.architecture": "llama",
    "flag": True,
    "small": 7,
    "negative": -7,
    "large": 2**40,
    "number": 0.1,
    "u8": np.uint8(255),
    "i16": np.int16(-2),
    "u64": np.uint64(3),
    "f64": np.float64(0.1),
    "array": np.array([1, -2, 3], np.int32),
    "flags": np.array([True, False]),
    "big-endian": np.array([1.5, 2.5], ">f4"),
    "texts": ["", "grüß dich", "▁"],
    "none": [],
}


def write(path, metadata, tensors, **options):
    """Write tensors given as (name, type, array), each in two pieces."""
    new = [NewTensor(name, type_, data.shape, data.nbytes) for name, type_, data in tensors]
    with GGUFWriter(path, metadata, new, **options) as writer:
        for name, _, data in tensors:
            writer.write(name, data[:1])
            writer.write(name, data[1:])
    return writer


def test_metadata_comes_back_as_it_was_written(tmp_path):
    write(tmp_path / "x.gguf", METADATA, [])
    read = read_gguf(map_file(tmp_path / "x.gguf")).metadata
    assert list(read) == list(METADATA)
    for key, value in METADATA.items():
        found = read[key]
        if isinstance(found, Texts):
            assert list(found) == value
        elif isinstance(found, np.ndarray):
            assert found.dtype == value.dtype.newbyteorder("<")
            assert found.tolist() == value.tolist()
        else:
            assert found == value
    fields = gguf.GGUFReader(tmp_path / "x.gguf").fields
    kinds = {key: fields[key].types[0].name for key in METADATA if key in fields}
    assert kinds["small"] == "UINT32"
    assert kinds["negative"] == "INT32"
    assert kinds["large"] == "UINT64"
    assert kinds["number"] == "FLOAT32"
    assert kinds["u64"] == "UINT64"
    assert kinds["f64"] == "FLOAT64"
    assert kinds["flag"] == "BOOL"


def test_a_copy_of_a_files_metadata_is_exact(tmp_path):
    made = bytes(make.gguf_bytes(make.every_kind(), []).data)
    (tmp_path / "in.gguf").write_bytes(made)
    write(tmp_path / "out.gguf", read_gguf(made).raw, [])
    copy = (tmp_path / "out.gguf").read_bytes()
    assert copy[: len(made.rstrip(b"\0"))] == made.rstrip(b"\0")
    assert len(copy) == len(made)


@pytest.mark.parametrize("alignment", [32, 64, 4096])
def test_tensors_come_back(tmp_path, alignment):
    rng = np.random.default_rng(0)
    tensors = [
        ("a", F32, rng.standard_normal((3, 5)).astype("f4")),
        ("b", F32, rng.standard_normal((2, 7)).astype("f4")),
        ("c", F32, rng.standard_normal((2, 3, 4)).astype("f4")),
    ]
    path = tmp_path / "x.gguf"
    # What a copied file said of its alignment does not count.
    metadata = {"general.architecture": "llama", "general.alignment": 128}
    writer = write(path, metadata, tensors, alignment=alignment)
    assert path.stat().st_size == writer.nbytes
    read = read_gguf(map_file(path))
    assert read.metadata.get("general.alignment", 32) == alignment
    others = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    for name, _, data in tensors:
        assert read.tensors[name].shape == data.shape
        assert read.tensors[name].data.tobytes() == data.tobytes()
        assert others[name].data.tobytes() == data.tobytes()
        assert others[name].data_offset % alignment == 0


def test_any_type_of_any_length_is_taken(tmp_path):
    path = tmp_path / "x.gguf"
    packed = bytes(range(34)) * 2
    tensors = [NewTensor("q", Q8_0, (2, 32), 68), NewTensor("own", I8, (100,), 100)]
    with GGUFWriter(path, {}, tensors) as writer:
        writer.write("q", packed)
        writer.write("own", bytearray(100))
    read = read_gguf(map_file(path)).tensors
    assert (read["q"].type, read["q"].data.tobytes()) == ("Q8_0", packed)
    assert (read["own"].type, read["own"].nbytes) == ("I8", 100)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError, OSError(5, "broken")])
def test_work_that_fails_leaves_nothing(tmp_path, failure):
    path = tmp_path / "x.gguf"
    path.write_bytes(b"what was there")
    expected = OutputError if isinstance(failure, OSError) else failure

    def work():
        with GGUFWriter(path, {}, [NewTensor("a", F32, (2,), 8)]) as writer:
            writer.write("a", b"1234")
            raise failure

    with pytest.raises(expected):
        work()
    assert path.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [path]


def write_pieces(path, tensors, pieces):
    with GGUFWriter(path, {}, tensors) as writer:
        for name, data in pieces:
            writer.write(name, data)


def test_data_must_be_as_announced(tmp_path):
    tensors = [NewTensor("a", F32, (1,), 4), NewTensor("b", F32, (1,), 4)]
    for pieces in (
        [("b", b"1234")],
        [("a", b"12345")],
        [("a", b"1234"), ("a", b"1")],
        [("a", b"1234")],
        [("a", b"1234"), ("b", b"1234"), ("c", b"")],
    ):
        with pytest.raises(ValueError, match=r"part|bytes|complete"):
            write_pieces(tmp_path / "x.gguf", tensors, pieces)
    assert list(tmp_path.iterdir()) == []


def test_space_is_looked_for_before_the_work(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    tensors = [NewTensor("a", I8, (free * 2,), free * 2)]
    with pytest.raises(OutputError, match=r"no space: [\d,]+ bytes are needed, [\d,]+ are free"):
        GGUFWriter(tmp_path / "x.gguf", {}, tensors).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="No such file"):
        GGUFWriter(tmp_path / "missing" / "x.gguf", {}, []).__enter__()
