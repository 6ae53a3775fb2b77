"""An open checkpoint: configuration, tensors, chat template and tokenizer, whichever the file.

It knows what a checkpoint offers to the other rooms. It does not know how any format stores it:
`gguf_checkpoint` and `safetensors` do.
"""

import mmap
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from pocketlm.errors import Error, ModelFileError, UnsupportedError
from pocketlm.formats import checked

if TYPE_CHECKING:
    from pocketlm.formats.tokenizer import Tokenizer

#: The element types that pocketlm runs, by GGUF name: (numbers in a block, bytes of a block).
ELEMENT_TYPES: Mapping[str, tuple[int, int]] = {
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q8_0": (32, 34),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
    "Q3_K": (256, 110),
    "IQ4_NL": (32, 18),
    "IQ4_XS": (256, 136),
}


#: The types that files hold as panels of 16 interleaved rows (native/layout.h), by their bits.
PANEL_BITS: Mapping[str, int] = {"P3": 3, "P4": 4, "P5": 5, "P6": 6}
PANEL_ROWS = 16


def panel_bytes(type_: str, columns: int) -> int:
    """Bytes of one panel: two float16 for each row, 4-bit codes for each 32 columns, quants."""
    groups = columns // 32
    head = codes = 64  # codes of 8 groups
    return head + -(-groups // 8) * codes + groups * 64 * PANEL_BITS[type_]


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A stored tensor.

    `type` is the element type by its GGUF name, `shape` has rows first, and `data` (uint8
    [nbytes], read-only) is the file's mapping itself, not a copy.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    data: npt.NDArray[np.uint8]

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return self.data.nbytes


class Tensors(Mapping[str, Tensor]):
    """Tensors by name. One of a type that pocketlm does not run may be there until it is wanted."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        """Offer `tensors`."""
        self._tensors = tensors

    def __getitem__(self, name: str) -> Tensor:
        """Return a tensor; raise UnsupportedError for one of a type that pocketlm does not run."""
        tensor = self._tensors[name]
        if tensor.type not in ELEMENT_TYPES and tensor.type not in PANEL_BITS:
            raise UnsupportedError(
                f"tensor {checked.shown(name)} is stored as {tensor.type}, which is not supported"
                f" (supported: {', '.join(ELEMENT_TYPES)})"
            )
        return tensor

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._tensors)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._tensors)

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a tensor, of whatever type."""
        return name in self._tensors


class Checkpoint(ABC):
    """A model's files, open. A context manager; `close` lets go of the mapping.

    `config` has the form of the hub's config.json and `tensors` the hub's names, whichever the
    file. Neither is judged here: `models` reads the one and asks for the others.
    """

    #: "gguf" or "safetensors".
    kind: ClassVar[str]

    path: Path
    config: dict[str, Any]
    #: As the hub's generation_config.json; {} if there is none.
    generation_config: dict[str, Any]
    tensors: Mapping[str, Tensor]
    chat_template: str | None
    #: A GGUF file's keys as they are; {} for safetensors.
    metadata: Mapping[str, Any]

    @abstractmethod
    def tokenizer(self) -> "Tokenizer":
        """Build the checkpoint's tokenizer. Raises ModelFileError or UnsupportedError."""

    def close(self) -> None:
        """Let go of the files. They are unmapped as soon as no tensor's data is in use."""
        self.tensors = {}
        self.metadata = {}

    def __enter__(self) -> Self:
        """Return the checkpoint."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the checkpoint."""
        self.close()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put `path` before the message of an error that is raised within."""
    try:
        yield
    except Error as error:
        raise type(error)(f"{path}: {error}") from None
    except OSError as error:
        raise ModelFileError(f"{path}: {error.strerror or error}") from None


def map_file(path: Path) -> mmap.mmap:
    """Map a file, read-only. Raises ModelFileError if it is empty or not regular, or OSError."""
    # Before it is opened: opening a pipe would wait for a writer.
    if not stat.S_ISREG(path.stat().st_mode):
        raise ModelFileError("not a regular file")
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise ModelFileError("the file is empty")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def let_go(tensor: Tensor) -> None:
    """Give back the memory that a mapped tensor's data took; reading them again reads the file.

    For work that goes through all tensors once: a mapping would stay in memory as far as it was
    read.
    """
    owner: Any = tensor.data
    first = owner
    while isinstance(owner, np.ndarray):
        first, owner = owner, owner.base
    mapping = owner.obj if isinstance(owner, memoryview) else owner
    if isinstance(mapping, mmap.mmap) and hasattr(mapping, "madvise"):
        start = tensor.data.ctypes.data - first.ctypes.data
        before = start % mmap.PAGESIZE
        mapping.madvise(mmap.MADV_DONTNEED, start - before, tensor.nbytes + before)
