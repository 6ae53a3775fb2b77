"""The engine as a model of lm-evaluation-harness: the same numbers as its transformers back-end.

Texts become tokens as they do there, prompts that are too long lose their beginning as they do
there (and are counted, which there they are not), and windows over long texts are the harness's
own. What is answered is kept in a ledger at once, and never asked again.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from pocketlm.api import Model
from pocketlm.chat.prompt import chat_text
from pocketlm.engine.sampling import SamplingParameters
from pocketlm.errors import ContextError, Error, ParameterError
from pocketlm.evaluate.harness.scoring import Score, scores, shared
from pocketlm.evaluate.harness.writing import Job, write
from pocketlm.ledger import Ledger
from pocketlm.progress import Progress

#: Requests whose tokens are in memory at once.
_AT_ONCE = 512
#: Tokens of an answer where its task says nothing, as the harness's transformers back-end has it.
_ANSWER = 256
#: What a task may say of sampling beside temperature, by the names of transformers.
_SAMPLING = frozenset({"top_k", "top_p", "min_p", "repetition_penalty"})
#: What it may say without effect: one beam is no search, and the cache is always used.
_WITHOUT_EFFECT: Mapping[str, Any] = {"num_beams": 1, "use_cache": True}

#: What a request is found by: its kind and texts.
_Key = tuple[str, ...]


class HarnessModel(TemplateLM):  # type: ignore[misc]
    """What `lm_eval.evaluator.evaluate` asks.

    `cut` counts, for each task, requests whose text had to lose its beginning to fit the context.
    """

    def __init__(
        self,
        model: Model,
        ledger: Ledger,
        *,
        seed: int = 0,
        chat: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Answer by `model`, and from `ledger` what is answered there.

        `seed` is for tasks that sample. With `chat`, prompts come in the model's chat template.
        """
        super().__init__()
        self.cut: Counter[str] = Counter()
        self._model = model
        self._ledger = ledger
        self._seed = seed
        self._chat = chat
        self._tell = tell
        # A context is encoded once for all its options.
        self._encoded = lru_cache(maxsize=4)(self._encode)

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        tokenizer = self._model.tokenizer
        if tokenizer.eos_id is None:
            raise Error("the model's vocabulary names no token that ends a text")
        return tokenizer.eos_id

    @property
    def prefix_token_id(self) -> int:
        """The token before a text without a context."""
        bos = self._model.tokenizer.bos_id
        return self.eot_token_id if bos is None else bos

    @property
    def max_length(self) -> int:
        """Tokens of the context."""
        return self._model.context

    @property
    def tokenizer_name(self) -> str:
        """What the harness's own cache of prompts knows the tokenizer by."""
        return self._model.tokenizer.fingerprint

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template's text, where one is used."""
        return self._model.template.source if chat_template else None

    def apply_chat_template(
        self, chat_history: list[dict[str, Any]], add_generation_prompt: bool = True
    ) -> str:
        """The text of a conversation; without a generation prompt its last message stays open."""
        text = chat_text(
            self._model.template,
            self._model.tokenizer,
            chat_history,
            add_generation_prompt=add_generation_prompt,
        )
        if add_generation_prompt:
            return text
        last = str(chat_history[-1]["content"])
        place = text.rfind(last.strip())
        if place < 0:
            raise Error("the chat template leaves out the beginning of the answer")
        whole = last.lstrip()
        return text[:place] + (whole if text.startswith(whole, place) else last.strip())

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: object
    ) -> list[int]:
        """Token ids; BOS first where the model wants it and the text does not begin with it."""
        return list(self._encoded(string, add_special_tokens))

    def _encode(self, string: str, add_special_tokens: bool | None) -> list[int]:
        tokenizer = self._model.tokenizer
        bos = tokenizer.bos_id
        wanted = add_special_tokens
        if wanted is None:
            wanted = not string.startswith(tokenizer.spelling(self.prefix_token_id))
        begin = [bos] if wanted and tokenizer.add_bos and bos is not None else []
        return begin + tokenizer.encode(string, special=True)

    def loglikelihood(
        self, requests: Sequence[Instance], disable_tqdm: bool = True
    ) -> list[tuple[float, bool]]:
        """For each request (context, continuation): log-probability, and whether it is greedy."""
        keys = [("loglikelihood", *request.args) for request in requests]
        missing = self._missing(keys, requests)
        sizes = _new_characters(list(missing))
        progress = self._progress("options", keys, sizes)
        for part in _parts(missing):
            # The harness encodes the pairs, and then calls `_loglikelihood_tokens`.
            found = super().loglikelihood([request for _, request in part], disable_tqdm=True)
            for index, score, cut in found:
                key = part[index][0]
                self._ledger[key] = {"logprob": score.logprob, "greedy": score.greedy, "cut": cut}
                progress.advance(sizes[key])
        found = self._found(keys, requests)
        return [(value["logprob"], value["greedy"]) for value in found]

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_: object
    ) -> Iterator[tuple[int, Score, bool]]:
        """As they are known: a request's index, its score, and whether its context was cut."""
        pairs = []
        for text, context, continuation in requests:
            if not continuation:
                raise Error(f"an option has no tokens of its own after {text[0][-40:]!r}")
            most = self.max_length + 1 - len(continuation)
            if most < 1:
                raise ContextError(
                    f"an option has {len(continuation):,} tokens, and the context window "
                    f"{self.max_length:,}: say a larger --context, or use another model"
                )
            pairs.append((context[-most:], continuation))
        for index, score in scores(self._model.engine, pairs):
            yield index, score, len(pairs[index][0]) < len(requests[index][1])

    def loglikelihood_rolling(
        self, requests: Sequence[Instance], disable_tqdm: bool = True
    ) -> list[float]:
        """For each request (text,): the log-probability of all of it, window by window."""
        keys = [("loglikelihood_rolling", *request.args) for request in requests]
        missing = self._missing(keys, requests)
        sizes = {key: float(len(key[1])) for key in missing}
        progress = self._progress("texts", keys, sizes)
        for key, request in missing.items():
            windows = get_rolling_token_windows(
                self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            pairs = [(None, *make_disjoint_window(window)) for window in windows]
            logprobs = {i: score.logprob for i, score, _ in self._loglikelihood_tokens(pairs)}
            self._ledger[key] = {"logprob": sum(logprobs[i] for i in range(len(pairs)))}
            progress.advance(sizes[key])
        return [value["logprob"] for value in self._found(keys, requests)]

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = True) -> list[str]:
        """For each request (context, options): the answer, up to the first of its stop strings."""
        keys = _numbered(requests)
        missing = self._missing(keys, requests)
        progress = self._progress("answers", keys, dict.fromkeys(missing, 1.0))
        for part in _parts(missing):
            jobs, cut = [], []
            for key, request in part:
                job, was_cut = self._job(key, request)
                jobs.append(job)
                cut.append(was_cut)
            for index, answer in write(self._model, jobs):
                text = self._model.tokenizer.decode(answer.tokens)
                text = postprocess_generated_text(text, list(jobs[index].parameters.stop), None)
                self._ledger[part[index][0]] = {"text": text, "cut": cut[index]}
                progress.advance()
        return [value["text"] for value in self._found(keys, requests)]

    def _job(self, key: _Key, request: Instance) -> tuple[Job, bool]:
        """How a request is answered, and whether its prompt was cut."""
        context, given = request.args
        options = normalize_gen_kwargs(given, _ANSWER)
        eos = self._model.tokenizer.spelling(self.eot_token_id)
        until = handle_stop_sequences(options.pop("until"), eos)
        count = options.pop("max_gen_toks")
        temperature = options.pop("temperature", 1.0) if options.pop("do_sample") else 0.0
        options.pop("temperature", None)
        for name, value in _WITHOUT_EFFECT.items():
            if options.get(name) == value:
                del options[name]
        if unknown := sorted(set(options) - _SAMPLING):
            raise ParameterError(
                f"{request.task_name}: asks for {unknown[0]}={options[unknown[0]]!r}, which the "
                "engine does not have"
            )
        most = self.max_length - count
        if most < 1:
            raise ContextError(
                f"{request.task_name}: answers may have {count:,} tokens, and the context window "
                f"has {self.max_length:,}: say a larger --context, or use another model"
            )
        prompt = self.tok_encode(context) or [self.prefix_token_id]
        parameters = SamplingParameters(
            temperature=temperature,
            max_tokens=count,
            stop=[text for text in until if text],
            seed=zlib.crc32(repr((self._seed, key)).encode()),
            **options,
        )
        return Job(prompt[-most:], parameters, self._chat), len(prompt) > most

    def _missing(self, keys: Sequence[_Key], requests: Sequence[Instance]) -> dict[_Key, Instance]:
        """Requests that no ledger answers, each once, in the order of their texts."""
        asked = dict(zip(keys, requests, strict=True))
        return {key: asked[key] for key in sorted(asked) if key not in self._ledger}

    def _found(self, keys: Sequence[_Key], requests: Sequence[Instance]) -> list[dict[str, Any]]:
        """What the ledger answers to requests; counts those that were cut."""
        found = [self._ledger[key] for key in keys]
        for value, request in zip(found, requests, strict=True):
            self.cut[str(request.task_name)] += bool(value.get("cut"))
        return found

    def _progress(self, what: str, keys: Sequence[_Key], sizes: Mapping[_Key, float]) -> Progress:
        total = len(set(keys))
        return Progress(self._tell, what, total, total - len(sizes), sum(sizes.values()))


def _numbered(requests: Sequence[Instance]) -> list[_Key]:
    """Keys of requests for answers: a sampled one that is asked again wants another answer."""
    asked: Counter[_Key] = Counter()
    keys: list[_Key] = []
    for request in requests:
        context, options = request.args
        key = ("generate_until", context, json.dumps(options, sort_keys=True))
        keys.append((*key, str(asked[key])))
        asked[key] += bool(options.get("do_sample") or options.get("temperature"))
    return keys


def _new_characters(keys: Sequence[_Key]) -> dict[_Key, float]:
    """How much of each request (kind, context, continuation) is not known from the one before."""
    sizes: dict[_Key, float] = {}
    before = ""
    for key in keys:
        _, context, continuation = key
        known = len(before) if context == before else shared(before, context)
        sizes[key] = float(len(context) - known + len(continuation))
        before = context
    return sizes


def _parts(missing: Mapping[_Key, Instance]) -> Iterator[list[tuple[_Key, Instance]]]:
    items = iter(missing.items())
    while part := list(islice(items, _AT_ONCE)):
        yield part
