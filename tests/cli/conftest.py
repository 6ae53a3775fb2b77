"""The real program, as a person would start it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from program import PROGRAM, Result


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """A home of its own, and no network."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("POCKETLM_", "HF_", "OLLAMA"))}
    return kept | {
        "HOME": str(tmp_path / "home"),
        "POCKETLM_HOME": str(tmp_path / "pocketlm"),
        "POCKETLM_OFFLINE": "1",
        "COLUMNS": "100",
    }


@pytest.fixture
def pocketlm(environment) -> Callable[..., Result]:
    """Run the program: `pocketlm("list", "--json", stdin="…")`."""

    def run(*arguments: str | Path, stdin: str | None = None, **extra: str) -> Result:
        return subprocess.run(
            [*PROGRAM, *map(str, arguments)],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            env=environment | extra,
            capture_output=True,
            text=True,
            timeout=250,
        )

    return run
