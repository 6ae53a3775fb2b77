"""docs/reference.md holds the help texts that the program prints."""

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_is_up_to_date():
    result = subprocess.run(
        [sys.executable, DOCS / "reference.py", "--check"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_it_has_every_command():
    page = (DOCS / "reference.md").read_text(encoding="utf-8")
    commands = "chat run code pull list show rm bench export quality quantize needle"
    for command in commands.split():
        assert f"Usage: pocketlm {command} " in page
