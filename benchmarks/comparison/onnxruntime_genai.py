"""onnxruntime-genai, on a model folder of its own format (genai_config.json and an ONNX file)."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime_genai as api

from comparison.works import Place, Places, Work, token


class Engine(Places):
    """A model in onnxruntime-genai, one text at a time."""

    def __init__(self, path: str, threads: int, works: Sequence[Work]) -> None:
        super().__init__(works)
        options = {"intra_op_num_threads": threads}
        config = api.Config(path)
        config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
        self.model = api.Model(config)
        described = json.loads(Path(path, "genai_config.json").read_text())
        self.vocab_size = described["model"]["vocab_size"]
        self.version = api.__version__

    def open(self, context: int, texts: int) -> Place:
        return _Place(self, context)

    def seconds(self, work: Work) -> float | None:
        return super().seconds(work) if work.texts == 1 else None


class _Place(Place):
    def __init__(self, engine: Engine, context: int) -> None:
        parameters = api.GeneratorParams(engine.model)
        parameters.set_search_options(do_sample=False, max_length=context + 1)
        self.generator = api.Generator(engine.model, parameters)
        self.vocab_size = engine.vocab_size
        self.position = 0

    def rewind(self, position: int) -> None:
        self.generator.rewind_to(position)
        self.position = position

    def prompt(self, count: int) -> None:
        places = range(self.position, self.position + count)
        tokens = [token(0, position, self.vocab_size) for position in places]
        self.generator.append_tokens(np.array(tokens, dtype=np.int32))
        self.position += count

    def step(self) -> None:
        self.prompt(1)
