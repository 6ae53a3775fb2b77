"""Every kernel of the build has the instructions that it was written for, and a lack is seen."""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("instructions.py")
pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or shutil.which("objdump") is None,
    reason="takes an x86-64 build apart, with objdump",
)


@pytest.fixture
def archive() -> Path:
    folder = os.environ.get("POCKETLM_TEST_POCKET")
    if not folder:
        pytest.skip("POCKETLM_TEST_POCKET names no build (docs/c-api.md)")
    return Path(folder) / "libruntime.a"


def count(archive: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, archive], capture_output=True, text=True)


def test_every_kernel_multiplies_as_it_should(archive: Path) -> None:
    run = count(archive)
    assert run.returncode == 0, run.stderr
    assert re.search(r"kernels_avx512 P4 +multiply 1: [1-9]\d* vpdpbusd", run.stdout)


def test_a_file_that_was_left_out_is_named(archive: Path, tmp_path: Path) -> None:
    without = tmp_path / archive.name
    shutil.copy(archive, without)
    subprocess.run(["ar", "d", without, "kernels_avx2.cpp.o"], check=True)
    run = count(without)
    assert run.returncode == 1
    assert run.stderr == "kernels_avx2 has no multiply_halves\n"
