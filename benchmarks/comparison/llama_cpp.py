"""llama.cpp, by the C interface that llama-cpp-python brings.

With its default weight repacking and its default cache of 16 bits, unless a type is said.
"""

import time
from collections.abc import Sequence

import llama_cpp as api
import numpy as np

from comparison.works import Place, Places, Work, token

BATCH = 512
CACHE_TYPES = {"f16": api.GGML_TYPE_F16, "q8_0": api.GGML_TYPE_Q8_0, "q4_0": api.GGML_TYPE_Q4_0}


class Engine(Places):
    """A model in llama.cpp. A quantised cache needs `flash` attention there.

    Without `mmap` the file is read, and not in memory beside the repacked weights.
    """

    def __init__(
        self,
        path: str,
        threads: int,
        works: Sequence[Work],
        flash: bool = False,
        cache_type: str = "f16",
        mmap: bool = True,
    ) -> None:
        super().__init__(works)
        self.threads, self.flash, self.cache_type = threads, flash, cache_type
        api.llama_backend_init()
        parameters = api.llama_model_default_params()
        parameters.n_gpu_layers = 0
        parameters.load_mode = api.LLAMA_LOAD_MODE_MMAP if mmap else api.LLAMA_LOAD_MODE_NONE
        self.model = api.llama_model_load_from_file(path.encode(), parameters)
        if self.model is None:
            raise SystemExit(f"llama.cpp cannot load {path}")
        self.vocab_size = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self.model))
        self.version = api.__version__

    def open(self, context: int, texts: int) -> "_Place":
        return _Place(self, context, texts)


class _Place(Place):
    def __init__(self, engine: Engine, context: int, texts: int) -> None:
        parameters = api.llama_context_default_params()
        parameters.n_ctx = context * texts
        parameters.n_seq_max = texts
        parameters.n_batch = parameters.n_ubatch = BATCH
        parameters.n_threads = parameters.n_threads_batch = engine.threads
        parameters.flash_attn_type = (
            api.LLAMA_FLASH_ATTN_TYPE_ENABLED
            if engine.flash
            else api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        parameters.type_k = parameters.type_v = CACHE_TYPES[engine.cache_type]
        self.context = api.llama_init_from_model(engine.model, parameters)
        if self.context is None:
            raise SystemExit(f"llama.cpp makes no context of {context * texts} tokens")
        self.memory = api.llama_get_memory(self.context)
        self.batch = api.llama_batch_init(BATCH, 0, 1)
        self.vocab_size, self.texts = engine.vocab_size, texts
        self.position = 0

    def rewind(self, position: int) -> None:
        for text in range(self.texts):
            api.llama_memory_seq_rm(self.memory, text, position, -1)
        self.position = position

    def prompt(self, count: int) -> None:
        for text in range(self.texts):
            end = self.position + count
            for start in range(self.position, end, BATCH):
                stop = min(start + BATCH, end)
                self._decode([(text, at, at == end - 1) for at in range(start, stop)])
        self.position += count

    def step(self) -> None:
        self._decode([(text, self.position, True) for text in range(self.texts)])
        self.position += 1

    def best_token(self) -> int:
        """The likeliest token after the last one."""
        logits = api.llama_get_logits_ith(self.context, -1)
        return int(np.ctypeslib.as_array(logits, (self.vocab_size,)).argmax())

    def _decode(self, tokens: Sequence[tuple[int, int, bool]]) -> None:
        """Process (text, position, whether its logits are wanted)."""
        batch = self.batch
        batch.n_tokens = len(tokens)
        for i, (text, position, wanted) in enumerate(tokens):
            batch.token[i] = token(text, position, self.vocab_size)
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = text
            batch.logits[i] = wanted
        code = api.llama_decode(self.context, batch)
        if code:
            raise SystemExit(f"llama_decode returned {code}")
        api.llama_synchronize(self.context)


def first_token_s(path: str, threads: int, prompt: int, context: int, **options: bool) -> float:
    """Seconds from loading to the first token after a prompt of `prompt` tokens."""
    start = time.perf_counter()
    place = Engine(path, threads, [], **options).open(context, 1)
    place.prompt(prompt)
    place.best_token()
    return time.perf_counter() - start
