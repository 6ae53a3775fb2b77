"""How the program is started, and what a refusal looks like."""

import subprocess
import sys

Result = subprocess.CompletedProcess[str]
PROGRAM = [sys.executable, "-m", "pocketlm"]


def check_refusal(result: Result, *words: str, code: int = 1) -> None:
    """One clear line on standard error, an exit code, and nothing else."""
    assert result.returncode == code, result
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("pocketlm: error: ")
    for word in words:
        assert word in line
