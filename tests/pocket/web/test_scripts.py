"""The browser's scripts that need no browser, in node: each `*.test.mjs` beside this file."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("file", sorted(path.name for path in HERE.glob("*.test.mjs")))
def test_script(file: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node (Debian has it as the package nodejs)")
    done = subprocess.run(
        [node, "--test", HERE / file], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
