"""OpenVINO GenAI, on a model folder of its own format, or a GGUF file that it knows.

Its pipeline gives no hold of single steps: times are those that it measures itself, and what comes
before a generated token is processed again each time.
"""

import sys
from collections.abc import Sequence

import numpy as np
import openvino
import openvino_genai as api

from comparison.works import Work, token

#: In every vocabulary.
VOCAB_SIZE = 32000


class Engine:
    """A model in OpenVINO GenAI, one text at a time."""

    def __init__(self, path: str, threads: int, works: Sequence[Work]) -> None:
        schedule = api.SchedulerConfig()
        schedule.enable_prefix_caching = False  # the same prompt comes in every round
        schedule.max_num_batched_tokens = sys.maxsize
        properties = {"scheduler_config": schedule, "INFERENCE_NUM_THREADS": threads}
        self.pipeline = api.LLMPipeline(path, "CPU", properties)
        self.version = api.__version__

    def seconds(self, work: Work) -> float | None:
        if work.texts > 1:
            return None
        count = work.prompt or max(work.depth, 1)
        ids = np.array([[token(0, i, VOCAB_SIZE) for i in range(count)]], dtype=np.int64)
        inputs = api.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids)))
        config = api.GenerationConfig()
        config.max_new_tokens, config.ignore_eos = work.generate + 1, True
        metrics = self.pipeline.generate(inputs, config).perf_metrics
        if work.prompt:
            return metrics.get_ttft().mean / 1000
        return metrics.get_tpot().mean / 1000 * work.generate
