"""Mistral 7B (Jiang et al. 2023): LLaMA's blocks, with a sliding window in the first version."""

from collections.abc import Mapping
from typing import Any

from pocketlm.models import llama
from pocketlm.models.config import Config
from pocketlm.models.program import Program, TensorInfo


def build(config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Program:
    """The program of a MistralForCausalLM checkpoint; errors as `models.build`.

    Files that lack the key `sliding_window` mean 4,096; null, from version 0.2 on, is none.
    """
    read = Config(config)
    window = read.optional_count("sliding_window") if read.has("sliding_window") else 4096
    return llama.decoder(read, tensors, window)
