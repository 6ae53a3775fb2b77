"""Write a GGUF model again with all weights in float32; run by hand, before recording.

    python tests/parity/dequantise.py SmolLM2-135M-Instruct.Q4_1.gguf smollm2-f32.gguf

The same model, but nobody rounds activations to multiply with it: implementations that mean the
same must then say the same.
"""

import sys
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import dequantize


def main(source: Path, target: Path) -> None:
    """Copy the metadata, dequantise the tensors."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        item = field.types[1] if len(field.types) > 1 else None
        writer.add_key_value(name, field.contents(), field.types[0], item)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
