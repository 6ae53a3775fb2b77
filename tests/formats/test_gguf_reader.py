"""The GGUF container: what others write is read as they meant it; what is wrong is refused."""

import itertools
import tracemalloc

import gguf
import numpy as np
import pytest

from fuzz import gguf_bytes as make
from pocketlm.errors import Error, ModelFileError, UnsupportedError
from pocketlm.formats.checkpoint import ELEMENT_TYPES
from pocketlm.formats.gguf import TYPE_NUMBERS, Texts, read_gguf
from pocketlm.formats.gguf_checkpoint import GGUFCheckpoint


def small(**changes):
    """Two keys, two tensors."""
    return make.gguf_bytes(
        [("general.architecture", make.TEXT, "llama"), ("words", make.ARRAY, (make.TEXT, ["a"]))],
        [("one", "F32", (2, 4)), ("two", "Q8_0", (3, 32))],
        **changes,
    )


def read_all(data):
    """Read a file as a user of it would: every string and both ends of each tensor."""
    read = read_gguf(data)
    for value in read.metadata.values():
        if isinstance(value, Texts):
            list(value)
    for tensor in read.tensors.values():
        if tensor.type in ELEMENT_TYPES:
            _ = tensor.data[0], tensor.data[-1]
    return GGUFCheckpoint("x.gguf", [read])


def refused(data, match, kind=ModelFileError):
    with pytest.raises(kind, match=match) as caught:
        read_all(bytes(data))
    assert "\n" not in str(caught.value)


def test_the_type_tables_are_those_of_the_package_gguf():
    for number, name in TYPE_NUMBERS.items():
        kind = gguf.GGMLQuantizationType(number)
        assert kind.name == name
        assert gguf.GGML_QUANT_SIZES[kind] == ELEMENT_TYPES[name]
    assert set(TYPE_NUMBERS.values()) == set(ELEMENT_TYPES)


def test_metadata_written_by_the_package_gguf(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_uint8("u8", 255)
    writer.add_int8("i8", -128)
    writer.add_uint16("u16", 65535)
    writer.add_int16("i16", -32768)
    writer.add_uint32("u32", 2**32 - 1)
    writer.add_int32("i32", -(2**31))
    writer.add_uint64("u64", 2**64 - 1)
    writer.add_int64("i64", -(2**63))
    writer.add_float32("f32", 1e-5)
    writer.add_float64("f64", 1e-300)
    writer.add_bool("yes", True)
    writer.add_bool("no", False)
    writer.add_string("text", "Füße\n😀")
    writer.add_array("ints", [1, -2, 3])
    writer.add_array("floats", [0.5, -1.0])
    writer.add_array("bools", [True, False])
    writer.add_array("texts", ["", "a", "日本"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()

    metadata = read_gguf((tmp_path / "x.gguf").read_bytes()).metadata
    arrays = {key: list(metadata.pop(key)) for key in ("ints", "floats", "bools", "texts")}
    assert metadata == {
        "general.architecture": "llama",
        "u8": 255,
        "i8": -128,
        "u16": 65535,
        "i16": -32768,
        "u32": 2**32 - 1,
        "i32": -(2**31),
        "u64": 2**64 - 1,
        "i64": -(2**63),
        "f32": 1e-5,
        "f64": 1e-300,
        "yes": True,
        "no": False,
        "text": "Füße\n😀",
    }
    assert arrays == {
        "ints": [1, -2, 3],
        "floats": [0.5, -1.0],
        "bools": [True, False],
        "texts": ["", "a", "日本"],
    }


@pytest.mark.parametrize("name", sorted(ELEMENT_TYPES))
def test_tensors_written_by_the_package_gguf(tmp_path, name):
    rng = np.random.default_rng(1)
    kind = gguf.GGMLQuantizationType[name]
    block, size = ELEMENT_TYPES[name]
    stored = rng.integers(0, 256, (3, 512 // block * size), np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_tensor("norm", np.arange(5, dtype=np.float32))
    writer.add_tensor("matrix", stored, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    with GGUFCheckpoint.open(tmp_path / "x.gguf") as checkpoint:
        matrix, norm = checkpoint.tensors["matrix"], checkpoint.tensors["norm"]
        assert (matrix.type, matrix.shape, matrix.nbytes) == (name, (3, 512), stored.nbytes)
        assert matrix.data.tobytes() == stored.tobytes()
        assert not matrix.data.flags.writeable
        assert not matrix.data.flags.owndata
        assert (norm.type, norm.shape) == ("F32", (5,))
        assert norm.data.view(np.float32).tolist() == [0, 1, 2, 3, 4]
    # Data outlive the checkpoint: the mapping goes with its last user.
    assert matrix.data.tobytes() == stored.tobytes()


def test_every_kind_of_value_and_version_2():
    read = read_gguf(bytes(make.gguf_bytes(make.every_kind(), [], version=2).data))
    assert read.version == 2
    assert read.metadata["f32"] == 1e-5
    assert read.metadata["a.u64"].tolist() == [2**63, 1]
    assert read.metadata["a.bool"].tolist() == [True, False, True]
    assert len(read.metadata["a.empty"]) == 0


def test_texts_are_a_sequence_decoded_on_demand():
    texts = read_gguf(bytes(make.gguf_bytes(make.every_kind(), []).data)).metadata["a.text"]
    assert len(texts) == 3
    assert texts._texts is None
    assert texts[2] == "ü"
    assert texts[:2] == ["", "a"]
    assert "a" in texts


def test_each_integer_at_each_boundary():
    """Every size, count, offset, type and value of a header, at twelve values; and all pairs."""
    file = small()
    sound = bytes(file.data)
    read_all(sound)
    tracemalloc.start()
    accepted, messages = 0, []
    places = [
        (field.offset, (value % 2 ** (8 * field.size)).to_bytes(field.size, "little"))
        for field in file.fields
        for value in make.BOUNDARIES
    ]
    for (at, value), (other, second) in itertools.combinations_with_replacement(places, 2):
        data = bytearray(sound)
        data[at : at + len(value)] = value
        data[other : other + len(second)] = second
        try:
            read_all(bytes(data))
            accepted += 1
        except Error as error:
            messages.append(str(error))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert accepted > 0
    assert len(messages) > 30_000
    assert not any("\n" in message for message in messages)
    assert peak < 16 << 20


@pytest.mark.parametrize("architecture", ["llama", "phi3"])
def test_each_integer_of_a_whole_model_at_each_boundary(architecture):
    tensors = {"llama": make.llama_tensors, "phi3": make.phi3_tensors}[architecture]
    file = make.gguf_bytes(make.shape_keys(architecture) + make.vocabulary(), tensors("Q4_0"))
    messages = []
    for field, value in itertools.product(file.fields, make.BOUNDARIES):
        data = bytearray(file.data)
        data[field.offset : field.offset + field.size] = (value % 2 ** (8 * field.size)).to_bytes(
            field.size, "little"
        )
        try:
            read_all(bytes(data))
        except Error as error:
            messages.append(str(error))
    assert len(messages) > len(file.fields) * 6
    assert not any("\n" in message for message in messages)


def test_truncation_at_every_byte():
    # Without its last tensor's bytes the file is whole again only at its very end.
    data = bytes(small().data)
    end = len(data) - 26  # Padding after the last tensor is not missed.
    for length in range(len(data)):
        if length < end:
            refused(data[:length], "truncated|more than the file can hold")
        else:
            read_all(data[:length])


def test_wrong_magic_version_and_byte_order():
    data = bytes(small().data)
    refused(b"GGML" + data[4:], "does not begin with 'GGUF'")
    refused(data[:4] + b"\1\0\0\0" + data[8:], "version 1 is not supported", UnsupportedError)
    refused(data[:4] + b"\4\0\0\0" + data[8:], "version 4 is not supported", UnsupportedError)
    refused(data[:4] + b"\0\0\0\3" + data[8:], "big-endian", UnsupportedError)


def with_metadata(*metadata):
    return make.gguf_bytes([("general.architecture", make.TEXT, "llama"), *metadata], []).data


def test_metadata_that_is_wrong():
    refused(with_metadata(("a", make.U8, 1), ("a", make.U8, 1)), "'a' is there twice")
    refused(with_metadata(("a", make.BOOL, 2)), "'a' is 2, expected true")
    refused(with_metadata(("a", make.ARRAY, (make.BOOL, [1, 2]))), "other than true")
    refused(with_metadata(("a", make.TEXT, b"\xff")), "'a' is not valid UTF-8")
    refused(with_metadata(("a", make.ARRAY, (make.TEXT, [b"ok", b"\xff"]))), "string 1 of .*'a'")
    refused(with_metadata((b"\xc3", make.U8, 1)), "a metadata key is not valid UTF-8")
    file = make.gguf_bytes([("a", make.U8, 1)], [])
    kind = next(field for field in file.fields if field.meaning == "type of a")
    file.data[kind.offset] = 13
    refused(file.data, "'a' is of type 13, which GGUF does not have")
    file = make.gguf_bytes([("a", make.ARRAY, (make.U8, [1]))], [])
    kind = next(field for field in file.fields if field.meaning == "element type of a")
    file.data[kind.offset] = 13
    refused(file.data, "'a' has elements of type 13, which GGUF does not have")


def test_arrays_of_arrays_are_refused():
    value = (make.ARRAY, [(make.I32, [1])])
    refused(with_metadata(("a", make.ARRAY, value)), "an array of arrays", UnsupportedError)


def test_more_entries_than_any_model_has():
    keys = [(f"{number}", make.U8, 1) for number in range(65_535)]
    read_all(bytes(with_metadata(*keys)))
    refused(with_metadata(*keys, ("x", make.U8, 1)), "keys is 65537, expected at most 65536")


@pytest.mark.parametrize("alignment", [0, 1, 4, 24, 2**32 - 1])
def test_alignment_must_be_a_power_of_two(alignment):
    refused(with_metadata(("general.alignment", make.U32, alignment)), "power of two")
    refused(with_metadata(("general.alignment", make.TEXT, "8")), "power of two")


@pytest.mark.parametrize("alignment", [8, 64, 4096])
def test_other_alignments(alignment):
    file = make.gguf_bytes(
        [("general.alignment", make.U32, alignment)],
        [("one", "F32", (3,)), ("two", "F32", (2,))],
        alignment=alignment,
    )
    read = read_gguf(bytes(file.data))
    assert read.tensors["two"].data.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


def changed(meaning, value, tensors=None):
    """A file with one of its integers replaced."""
    file = small() if tensors is None else make.gguf_bytes([], tensors)
    field = next(field for field in file.fields if field.meaning == meaning)
    file.data[field.offset : field.offset + field.size] = value.to_bytes(field.size, "little")
    return file.data


def test_tensors_that_are_wrong():
    refused(changed("dimensions of one", 0), "'one' has 0 dimensions")
    refused(changed("dimensions of one", 5), "'one' has 5 dimensions")
    refused(changed("dimension of one", 0), "'one' has a dimension of 0")
    refused(changed("dimension of one", 2**62), "size of tensor 'one' is out of range")
    refused(changed("dimension of one", 2**20), "truncated or damaged")
    refused(
        changed("dimension of two", 33), r"row length .*'two' \(Q8_0\) is 33, .* multiple of 32"
    )
    refused(changed("offset of two", 0), "overlaps the tensor before it")
    refused(changed("offset of two", 33), "not a multiple of 32")
    refused(changed("offset of two", 2**63 - 32), "out of range")
    refused(changed("offset of two", 2**64 - 32), "out of range")
    refused(changed("offset of two", 1024), "truncated or damaged")
    refused(changed("number of tensors", 2**40), "number of tensors is .* more than the file")
    refused(changed("number of keys", 2**40), "number of metadata keys is .* more than the file")
    twice = make.gguf_bytes([], [("a", "F32", (8,)), ("a", "F32", (8,))])
    refused(twice.data, "'a' is there twice")


def test_dimensions_whose_product_wraps_to_a_small_number():
    tensors = [("wide", "F32", (2, 2, 2, 2))]
    file = make.gguf_bytes([], tensors)
    for field in file.fields:
        if field.meaning == "dimension of wide":
            file.data[field.offset : field.offset + 8] = (2**16).to_bytes(8, "little")
    # 2^64 numbers are 0 bytes to whoever counts in 64 bits.
    refused(file.data, "size of tensor 'wide' is out of range")


def test_an_unsupported_type_is_refused_by_name_when_it_is_wanted():
    file = make.gguf_bytes(
        [("general.architecture", make.TEXT, "llama")],
        [("odd", "IQ3_S", (2, 256)), ("even", "F32", (2,))],
    )
    checkpoint = read_all(bytes(file.data))
    assert list(checkpoint.tensors) == ["odd", "even"]
    assert "odd" in checkpoint.tensors
    assert checkpoint.tensors["even"].shape == (2,)
    with pytest.raises(UnsupportedError, match="'odd' is stored as IQ3_S, which is not supported"):
        checkpoint.tensors.get("odd")


def test_a_type_that_nobody_knows():
    data = changed("type of one", 99)
    read = read_gguf(bytes(data))
    assert read.tensors["one"].type == "type number 99"
    assert read.tensors["two"].data[0] == 1


def test_the_order_of_offsets_is_free():
    file = make.gguf_bytes([], [("one", "F32", (8,)), ("two", "F32", (8,))])
    places = [field.offset for field in file.fields if field.meaning.startswith("offset of")]
    file.data[places[0] : places[0] + 8], file.data[places[1] : places[1] + 8] = (
        file.data[places[1] : places[1] + 8],
        file.data[places[0] : places[0] + 8],
    )
    tensors = read_gguf(bytes(file.data)).tensors
    assert list(tensors) == ["one", "two"]
    assert tensors["one"].data[0] == 1
    assert tensors["one"].data.ctypes.data == tensors["two"].data.ctypes.data + 32
