"""The two real tokenizers with the templates of their files."""

from pathlib import Path

import pytest

import tokenizer_references as references
from pocketlm.chat.template import ChatTemplate
from pocketlm.formats.gguf import read_gguf
from pocketlm.formats.tokenizer import Tokenizer, from_gguf


class Model:
    """A tokenizer, its file's template, and the file as references read it."""

    def __init__(self, path: Path) -> None:
        self.vocab = references.Vocab(path)
        self.tokenizer: Tokenizer = from_gguf(read_gguf(path.read_bytes()).metadata)
        self.template = ChatTemplate(self.vocab.template)


@pytest.fixture(scope="session")
def phi_3(test_data: Path) -> Model:
    return Model(test_data / "tokenizer" / "ggml-vocab-phi-3.gguf")


@pytest.fixture(scope="session")
def smollm(smollm2: Path) -> Model:
    return Model(smollm2)
