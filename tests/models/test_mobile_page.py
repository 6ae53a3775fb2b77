"""The tables of docs/mobile.md are what the programs' own accounts say."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def phones() -> ModuleType:
    spec = importlib.util.spec_from_file_location("phones", DOCS / "phones.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(phones: ModuleType) -> None:
    page = (DOCS / "mobile.md").read_text(encoding="utf-8")
    assert page.count("<!-- table: ") == 3
    assert phones.generated(page) == page


def test_the_model_is_the_published_one_in_1_8_gb(phones: ModuleType) -> None:
    program = phones.planned()
    assert program.parameters == 3_821_079_552
    # Phi-3-mini's cache is 384 KiB a token in 16 bits.
    assert program.cache_bytes(1, "f16") == 384 * 1024
    assert 1.79e9 < program.weight_bytes < 1.8e9
