"""Fuzz what reads a whole GGUF file: `quantize` and `show`.

As for export, each input is quantised twice, after memory was filled with other bytes, and
the outputs must be equal; a damaged one gives an error. Files with panels are among the seeds.
"""

import tempfile
import zlib
from pathlib import Path

import driver
import fuzz_export
import numpy as np

from pocketlm.cli.describe import describe
from pocketlm.errors import Error
from pocketlm.formats.gguf import read_gguf
from pocketlm.formats.gguf_checkpoint import GGUFCheckpoint
from pocketlm.quantize.quantizer import Goal, quantize_checkpoint

GOALS = (Goal(type="q4_0"), Goal(type="p4"), Goal(bits=9.0), Goal(size=300_000))


def target(data: bytes) -> None:
    """Show the file, or quantise it to one goal, twice, and compare."""
    choice = zlib.crc32(data) % (len(GOALS) + 1)
    if choice == len(GOALS):
        path = FOLDER / "in.gguf"
        path.write_bytes(data)
        first, second = describe(path, "q8"), describe(path, "q8")
        assert first == second
        return
    one, other = (quantised(data, GOALS[choice], dirt) for dirt in fuzz_export.DIRT)
    if isinstance(one, Error) or isinstance(other, Error):
        assert str(one) == str(other), (one, other)
        assert isinstance(one, Error)
        raise one
    assert one == other


def quantised(data: bytes, goal: Goal, dirt: int) -> bytes | Error:
    """The file that is written, or the error; nothing must be left behind by one."""
    fuzz_export.make_dirty(dirt)
    path = FOLDER / "out"
    try:
        checkpoint = GGUFCheckpoint(Path("fuzz.gguf"), [read_gguf(data)])
        quantize_checkpoint(checkpoint, path, goal, requantise=True)
    except Error as error:
        assert not path.exists()
        assert not list(FOLDER.glob(".*"))
        return error
    written = path.read_bytes()
    GGUFCheckpoint(path, [read_gguf(written)])
    path.unlink()
    return written


def seeds() -> list[driver.Seed]:
    """Export's, and what quantising makes of them: files with panels."""
    found = fuzz_export.seeds()
    for seed in found[:2] + found[4:5]:
        written = quantised(seed.data, Goal(type="p4"), 0)
        assert isinstance(written, bytes), written
        # Where integers lie: any four bytes of what comes before the tensors.
        start = min(t.data.ctypes.data for t in read_gguf(written).tensors.values())
        header = start - np.frombuffer(written, np.uint8).ctypes.data
        found.append(driver.Seed(written, [(at, 4) for at in range(4, header - 8, 4)]))
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        FOLDER = Path(name)
        driver.main("quantize", target, seeds())
