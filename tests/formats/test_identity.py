"""One model in several forms is one, and another is another."""

from pocketlm.formats.identity import identity
from pocketlm.formats.open import open_checkpoint
from pocketlm.quantize.export import export


def known(path):
    checkpoint = open_checkpoint(path)
    try:
        return identity(checkpoint)
    finally:
        checkpoint.close()


def test_forms_of_the_real_model(smollm2, tmp_path):
    export(smollm2, tmp_path / "folder", "safetensors")
    export(tmp_path / "folder", tmp_path / "float.gguf", "gguf")
    assert known(tmp_path / "folder") == known(tmp_path / "float.gguf") == known(smollm2)
