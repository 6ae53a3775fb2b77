"""The tiny real model stories260K as a GGUF file: the same float32 numbers, the same vocabulary."""

import struct
from pathlib import Path

import gguf
import numpy as np

_PARTS = (
    # name, rows and columns by the letters of the header's sizes
    ("attn_norm", "d", None),
    ("attn_q", "d", "d"),
    ("attn_k", "k", "d"),
    ("attn_v", "k", "d"),
    ("attn_output", "d", "d"),
    ("ffn_norm", "d", None),
    ("ffn_gate", "f", "d"),
    ("ffn_down", "d", "f"),
    ("ffn_up", "f", "d"),
)


def write_gguf(folder: Path, target: Path) -> None:
    """Write `target` from stories260K.bin and tok512.bin in `folder`."""
    data = (folder / "stories260K.bin").read_bytes()
    dim, hidden, layers, heads, kv_heads, vocabulary, context = struct.unpack_from("<7i", data)
    floats = np.frombuffer(data, "<f4", offset=28)
    size = {"d": dim, "f": hidden, "k": dim // heads * kv_heads}
    at = 0

    def take(*shape: int) -> np.ndarray:
        nonlocal at
        count = int(np.prod(shape))
        at += count
        return floats[at - count : at].reshape(shape)

    writer = gguf.GGUFWriter(target, "llama")
    writer.add_tensor("token_embd.weight", take(vocabulary, dim))
    for name, rows, columns in _PARTS:
        shape = (size[rows],) if columns is None else (size[rows], size[columns])
        for layer, values in enumerate(take(layers, *shape)):
            writer.add_tensor(f"blk.{layer}.{name}.weight", values)
    writer.add_tensor("output_norm.weight", take(dim))
    # Two tables of angles end the file; the head is the embedding.
    assert at + context * dim // heads == floats.size

    writer.add_context_length(context)
    writer.add_embedding_length(dim)
    writer.add_feed_forward_length(hidden)
    writer.add_block_count(layers)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(dim // heads)
    writer.add_rope_freq_base(10000.0)
    _add_tokenizer(writer, (folder / "tok512.bin").read_bytes(), vocabulary)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, data: bytes, vocabulary: int) -> None:
    pieces, scores, types = [], [], []
    at = 4  # the length of the longest piece
    for token in range(vocabulary):
        score, length = struct.unpack_from("<fi", data, at)
        piece = data[at + 8 : at + 8 + length].decode()
        at += 8 + length
        kind = gguf.TokenType.NORMAL
        if token < 3:
            piece = ("<unk>", "<s>", "</s>")[token]
            kind = gguf.TokenType.CONTROL if token else gguf.TokenType.UNKNOWN
        elif token < 259:
            assert piece == f"<0x{token - 3:02X}>"
            kind = gguf.TokenType.BYTE
        pieces.append(piece.replace(" ", "▁"))
        scores.append(score)
        types.append(kind)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
