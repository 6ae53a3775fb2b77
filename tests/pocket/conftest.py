"""Programs of the CMake build that tests run."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

BUILD = "cmake -S . -B DIR -D POCKETLM_PYTHON=OFF -D POCKETLM_TESTS=ON && cmake --build DIR"


@pytest.fixture(scope="session")
def built() -> Callable[[str], Path]:
    """The path of a program, by its place in the build folder that POCKETLM_TEST_POCKET names."""
    folder = os.environ.get("POCKETLM_TEST_POCKET")
    if not folder:
        pytest.skip(f"POCKETLM_TEST_POCKET names no build ({BUILD})")

    def find(name: str) -> Path:
        path = Path(folder) / name
        assert path.is_file(), f"{path} is not there: {BUILD}"
        return path

    return find
