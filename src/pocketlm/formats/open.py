"""Opening a model by its path: a GGUF file, or a folder of safetensors.

It knows how to tell formats apart, and what to say of what is neither.
"""

from pathlib import Path

from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.formats.checkpoint import Checkpoint, naming
from pocketlm.formats.gguf import MAGIC
from pocketlm.formats.gguf_checkpoint import GGUFCheckpoint, part_paths
from pocketlm.formats.safetensors import SafetensorsCheckpoint

#: What files that are not GGUF begin with, and what to say of them.
_OTHERS = {
    b"PK\x03\x04": "a PyTorch or zip file, which may hold code; use GGUF or safetensors files",
    b"\x80\x02": "a pickle file, which may hold code; use GGUF or safetensors files",
    b"tjgg": "in llama.cpp's form before GGUF; convert it, or use a newer file",
    b"lmgg": "in llama.cpp's form before GGUF; convert it, or use a newer file",
    b"fmgg": "in llama.cpp's form before GGUF; convert it, or use a newer file",
    b"<": "a web page, not a model; download it again",
    b"version https://git-lfs": "a Git LFS pointer, not the model itself; run 'git lfs pull'",
}


def open_checkpoint(path: Path) -> Checkpoint:
    """Open the model at `path`: a GGUF file, a safetensors folder, or a folder with one GGUF file.

    Raises ModelFileError where there is none or it is damaged, UnsupportedError for a kind of file
    that pocketlm does not read.
    """
    try:
        with naming(path):
            if not path.exists():
                raise ModelFileError("no such file or folder")
            if path.is_dir():
                path = _model_in(path)
        if path.is_dir():
            return SafetensorsCheckpoint.open(path)
        with naming(path):
            _check_magic(path)
        return GGUFCheckpoint.open(path)
    except OSError as error:
        raise ModelFileError(f"{error.filename or path}: {error.strerror or error}") from None


def _model_in(folder: Path) -> Path:
    """Return the GGUF file in a folder, or the folder itself where it holds safetensors."""
    names = sorted(entry.name for entry in folder.iterdir())
    if any(name.endswith(".safetensors") for name in names):
        if "config.json" in names:
            return folder
        raise ModelFileError("the folder has safetensors files but no config.json beside them")
    files = [folder / name for name in names if name.endswith(".gguf")]
    if not files:
        if "config.json" in names:
            raise ModelFileError("the folder has a config.json but no safetensors or GGUF file")
        raise ModelFileError("the folder holds no model: neither a GGUF file nor safetensors")
    if len(files) > 1 and part_paths(files[0]) != files:
        listed = ", ".join(file.name for file in files[:4]) + (", …" if len(files) > 4 else "")
        raise ModelFileError(f"the folder holds {len(files)} GGUF files, name one: {listed}")
    return files[0]


def _check_magic(path: Path) -> None:
    if not path.is_file():
        raise ModelFileError("not a regular file")
    if path.suffix == ".safetensors":
        raise ModelFileError(
            "a safetensors file; name the folder that holds it and its config.json"
        )
    with path.open("rb") as file:
        beginning = file.read(32)
    if not beginning:
        raise ModelFileError("the file is empty")
    if beginning.startswith(MAGIC):
        return
    for magic, what in _OTHERS.items():
        if beginning.startswith(magic):
            raise UnsupportedError(f"the file is {what}")
    raise ModelFileError(f"not a GGUF file: it begins with {beginning[:4]!r}, expected {MAGIC!r}")
