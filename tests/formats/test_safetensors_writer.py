"""Safetensors of ours: what we write, we and the package safetensors read back, to the bit."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from pocketlm.formats.checkpoint import map_file
from pocketlm.formats.safetensors import _read_folder, read_safetensors
from pocketlm.formats.safetensors_writer import NewTensor, SafetensorsWriter

TENSORS = {
    name: np.random.default_rng(number).standard_normal(shape).astype("f4")
    for number, (name, shape) in enumerate(
        {"a": (3, 4), "b": (5,), "c": (2, 3), "d": (2, 1)}.items()
    )
}


def write(folder, **options):
    new = [NewTensor(name, "F32", data.shape, data.nbytes) for name, data in TENSORS.items()]
    with SafetensorsWriter(folder, new, **options) as writer:
        for name, data in TENSORS.items():
            writer.write(name, data[:1])
            writer.write(name, data[1:])


def check(found):
    assert set(found) == set(TENSORS)
    for name, data in TENSORS.items():
        assert found[name].tobytes() == data.tobytes()


def test_one_file(tmp_path):
    write(tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.name == "model.safetensors"
    check(load_file(path))
    read = read_safetensors(map_file(path))
    check({name: tensor.data for name, tensor in read.items()})
    assert [tensor.shape for tensor in read.values()] == [d.shape for d in TENSORS.values()]


@pytest.mark.parametrize(("size", "count"), [(1, 4), (48 + 20, 2), (48 + 20 + 24, 2), (100, 1)])
def test_shards(tmp_path, size, count):
    write(tmp_path, shard_bytes=size)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) == count
    if count > 1:
        assert files[0].name == f"model-00001-of-{count:05}.safetensors"
        index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
        assert index["metadata"]["total_size"] == 100
        assert list(index["weight_map"]) == list(TENSORS)
    found = {}
    for file in files:
        found |= load_file(file)
    check(found)
    check({name: tensor.data for name, tensor in _read_folder(tmp_path).items()})


@pytest.mark.parametrize(
    "pieces",
    [
        [("b", bytes(4))],
        [("a", bytes(5))],
        [("a", bytes(4))],
        [("a", bytes(2)), ("b", bytes(4))],
        [("a", bytes(4)), ("a", b"1")],
    ],
)
@pytest.mark.parametrize("shard_bytes", [4, 100])
def test_data_must_be_as_announced(tmp_path, pieces, shard_bytes):
    def work():
        new = [NewTensor(name, "F32", (1,), 4) for name in "ab"]
        with SafetensorsWriter(tmp_path, new, shard_bytes) as writer:
            for name, data in pieces:
                writer.write(name, data)

    with pytest.raises(ValueError, match=r"part|bytes|complete|not all"):
        work()
