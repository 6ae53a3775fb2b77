"""The Python interface: load a model, generate, chat.

It joins the rooms (store, formats, models, engine, chat) and does nothing itself.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from pocketlm.engine.adapters import Adapter, bind
from pocketlm.engine.answer import Generation, Piece, Stream
from pocketlm.engine.constraint import Compiler, Constraint, from_options
from pocketlm.engine.engine import Engine
from pocketlm.engine.prefixes import PrefixCache, PrefixFolder, prefix_folder
from pocketlm.engine.runtime import DEFAULT_CACHE_TYPE, Runtime
from pocketlm.engine.sampling import SamplingParameters, Token
from pocketlm.errors import ParameterError
from pocketlm.formats.checkpoint import Checkpoint
from pocketlm.models import build

if TYPE_CHECKING:
    from pocketlm.chat.prompt import Message
    from pocketlm.chat.template import ChatTemplate

__all__ = [
    "Adapter",
    "Generation",
    "Model",
    "Piece",
    "SamplingParameters",
    "Stream",
    "Token",
    "load",
]


#: LoRA adapters, each with a scale: (path, scale).
Loras = Sequence[tuple[str | Path, float]]


def load(
    model: str | Path,
    *,
    threads: int | None = None,
    context: int | None = None,
    cache_type: str = DEFAULT_CACHE_TYPE,
    quantize: str | None = None,
    prefix_cache: Path | str | bool = False,
    speculate: bool = True,
    lora: Loras = (),
    offline: bool | None = None,
) -> Model:
    """Load a model by name ("smollm2"), hub repository, or path (GGUF file, safetensors folder).

    A name that is not on this machine is brought first; `offline` forbids that (None asks
    POCKETLM_OFFLINE). `threads` None is the physical cores at our disposal. `context` None is the
    model's own window, in tokens; memory for it is taken as it is used. `cache_type` is "f32",
    "f16", "q8" (the default) or "q4", or one for keys and one for values ("q8/q4"). `quantize`
    "q8_0" or "q4_0" shrinks float weights as they are loaded.

    With `prefix_cache`, what was processed of long texts is kept on disk and found again by later
    runs: in that folder, or with True in the store's. It is private, holds no more bytes than
    POCKETLM_PREFIX_CACHE says (2GB; 0 is none), and may be deleted at any time.

    With `speculate`, answers that repeat parts of the text come faster: what followed there is
    tried, several tokens at a time, where that pays on this machine. It changes no answer.

    `lora` are adapters, each (path, scale), which are added to the model for all texts that name
    no other: `lora=[("folder", 1.0)]`. See `Model.adapter`.

    Raises pocketlm.Error: StoreError, ModelFileError, UnsupportedError or ParameterError.
    """
    from pocketlm.formats.open import open_checkpoint

    if isinstance(model, str):
        from pocketlm.store import Store

        path = Store(offline=offline).resolve(model)
    else:
        path = model
    started = time.perf_counter()
    prefixes = None
    if prefix_cache:
        prefixes = prefix_folder(_prefix_home(prefix_cache), path)
    checkpoint = open_checkpoint(path)
    try:
        loaded = Model(
            checkpoint,
            threads=threads,
            context=context,
            cache_type=cache_type,
            quantize=quantize,
            prefixes=prefixes,
            speculate=speculate,
            lora=lora,
        )
    except BaseException:
        checkpoint.close()
        raise
    loaded.load_s = time.perf_counter() - started
    return loaded


class Model:
    """A loaded model. A context manager; `close` gives its memory back.

    Methods may be called from several threads: texts that are generated at the same time share
    steps. All methods that generate take the fields of `SamplingParameters` by name (`max_tokens`,
    `temperature`, `stop`, …), and one of `schema`, `regex`, `grammar` (see `generate`). By default
    the most likely token is taken each time, to the end of the answer or the context.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        threads: int | None = None,
        context: int | None = None,
        cache_type: str = DEFAULT_CACHE_TYPE,
        quantize: str | None = None,
        prefixes: PrefixFolder | None = None,
        speculate: bool = True,
        lora: Loras = (),
    ) -> None:
        """Prepare an open checkpoint, which `close` closes. See `load`."""
        self.load_s = 0.0
        self.checkpoint = checkpoint
        self.program = build(checkpoint.config, checkpoint.tensors)
        self.context = _context(context, self.program.context)
        self.tokenizer = checkpoint.tokenizer()
        runtime = Runtime(
            self.program,
            checkpoint.tensors,
            threads=threads,
            cache_type=cache_type,
            quantize=quantize,
        )
        padding = range(self.tokenizer.vocab_size, self.program.vocab_size)
        banned = {id for id in self.tokenizer.unused if id < self.program.vocab_size}
        kept = None
        if prefixes is not None:
            kept = PrefixCache(prefixes, runtime.cache, runtime.identity)
        self._engine: Engine | None = Engine(
            runtime,
            self.context,
            sorted(banned.union(padding)),
            prefixes=kept,
            speculate=speculate,
            adapter=self.adapter(lora),
        )

    @property
    def engine(self) -> Engine:
        """What generates token ids. Raises ParameterError once the model is closed."""
        if self._engine is None:
            raise ParameterError("the model is closed; load it again")
        return self._engine

    @functools.cached_property
    def template(self) -> ChatTemplate:
        """The chat template of the file, or the one that its vocabulary suggests."""
        from pocketlm.chat.fallback import template_for

        return template_for(self.tokenizer, self.checkpoint.chat_template)

    def adapter(self, loras: Loras) -> Adapter:
        """Load LoRA adapters, each (path, scale): peft's folders or GGUF files; they are summed.

        What it returns goes to the methods that generate, as `adapter`: texts of different adapters
        are written side by side. Its memory is given back when nothing refers to it any more.
        That of no adapters, `model.adapter([])`, is the model as it is.

        >>> german = model.adapter([("german", 1.0)])
        >>> model.generate("Die Hauptstadt", adapter=german)

        Raises ModelFileError for one that is damaged or of another model, UnsupportedError for one
        that adapts what is no projection of a layer.
        """
        from pocketlm.formats.lora import open_lora

        return bind(self.program, [(open_lora(Path(path)), scale) for path, scale in loras])

    def generate(self, prompt: str | Sequence[int], **options: object) -> Generation:
        """Continue a text, or token ids as they are. Raises ContextError for one that is too long.

        With one of three more options, the answer is JSON of a `schema` (as a dictionary, as JSON,
        or a pydantic model class), or what a `regex` matches (Rust's syntax), or a `grammar`
        generates (Lark or GBNF); it is whole unless its finish_reason is "length". ParameterError
        names what cannot be enforced. With an `adapter`, it is added to the model.

        >>> model.generate("The capital of France is", max_tokens=8).text
        ' Paris.\\n'
        """
        return self.stream(prompt, **options).complete()

    def stream(self, prompt: str | Sequence[int], **options: object) -> Stream:
        """As `generate`, piece by piece as the text is written."""
        constraint, adapter, parameters = _read(options)
        ids = self.text_tokens(prompt)
        return self.answer(ids, parameters, constraint, chat=False, adapter=adapter)

    def chat(self, messages: Sequence[Message], **options: object) -> Generation:
        """Answer a conversation: [{"role": "user", "content": "Hello"}, …]. See `generate`.

        An assistant's message may carry the `tokens` that it was generated as; they are used as
        they are. Raises TemplateError, and ContextError for a conversation that is too long.
        """
        return self.chat_stream(messages, **options).complete()

    def chat_stream(self, messages: Sequence[Message], **options: object) -> Stream:
        """As `chat`, piece by piece as the text is written."""
        constraint, adapter, parameters = _read(options)
        ids = self.prompt_tokens(messages)
        return self.answer(ids, parameters, constraint, chat=True, adapter=adapter)

    def prompt_tokens(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, object]] | None = None,
    ) -> list[int]:
        """The token ids that `chat` sends for these messages; `tools` go to the template."""
        from pocketlm.chat.prompt import chat_tokens

        return chat_tokens(self.template, self.tokenizer, messages, tools=tools)

    def text_tokens(self, prompt: str | Sequence[int]) -> list[int]:
        """The token ids that `generate` sends for a text: BOS first, where the model wants it."""
        if not isinstance(prompt, str):
            return list(prompt)
        bos = self.tokenizer.bos_id
        begin = [bos] if self.tokenizer.add_bos and bos is not None else []
        return begin + self.tokenizer.encode(prompt)

    def answer(
        self,
        prompt: list[int],
        parameters: SamplingParameters,
        constraint: Constraint | None = None,
        *,
        chat: bool,
        private: bool = False,
        adapter: Adapter | None = None,
    ) -> Stream:
        """Continue token ids. With `chat`, also what ends a turn of the template's ends the answer.

        Of a `private` text the prefix cache keeps nothing on disk. Without an `adapter`, those of
        `load` are used. Raises ParameterError for a constraint that no text meets.
        """
        if chat and self.template.stop_strings:
            stop = (*parameters.stop, *self.template.stop_strings)
            parameters = replace(parameters, stop=stop)
        stop_ids = self._chat_stop_ids if chat else self.stop_ids
        matcher = None
        if constraint is not None:
            matcher = self._compiler.matcher(constraint, stop_ids)
        request = self.engine.generate(
            prompt, parameters, stop_ids, matcher, private=private, adapter=adapter
        )
        request.timings.load_s = self.load_s
        detokenizer = self.tokenizer.stream(after=prompt[-1], exact=matcher is not None)
        return Stream(request, detokenizer)

    def logits(
        self, tokens: Sequence[int], *, chunk: int | None = None, adapter: Adapter | None = None
    ) -> npt.NDArray[np.float32]:
        """Logits after each token, float32 [len(tokens), vocabulary]; `chunk` tokens at a time."""
        return self.engine.logits(tokens, chunk, adapter)

    def embed(
        self, text: str | Sequence[int], *, adapter: Adapter | None = None
    ) -> npt.NDArray[np.float32]:
        """A text, or token ids, as a vector of length 1: float32 [hidden size].

        It is the mean of what the model's output head reads after each token. A model that was
        trained for text, not for embeddings, gives coarse ones.
        """
        hidden = self.engine.hidden(self.text_tokens(text), adapter)
        mean = hidden.mean(axis=0, dtype=np.float64)
        length = max(float(np.linalg.norm(mean)), 1e-12)
        return np.asarray(mean / length, dtype=np.float32)

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of a text, without BOS; with `special`, control tokens' spellings count."""
        return self.tokenizer.encode(text, special=special)

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """The text of token ids; with `special`, control tokens are spelled out."""
        return self.tokenizer.decode(tokens, special=special)

    def close(self) -> None:
        """Give the memory back. Closing twice is no error."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
            if "template" in self.__dict__:
                self.template.close()
            self.checkpoint.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    @functools.cached_property
    def _compiler(self) -> Compiler:
        tokenizer = self.tokenizer
        # What constraints force is text within an answer: it gets no space of its own.
        plain = next(iter(set(range(tokenizer.vocab_size)) - tokenizer.control_ids), None)
        return Compiler(
            [tokenizer.token_bytes(id) for id in range(tokenizer.vocab_size)],
            lambda text: tokenizer.encode_run(text, after=plain),
            self.program.vocab_size,
        )

    @functools.cached_property
    def stop_ids(self) -> frozenset[int]:
        """Token ids that end a text, as the vocabulary and the generation configuration say."""
        return self._ends(None)

    @functools.cached_property
    def _chat_stop_ids(self) -> frozenset[int]:
        return self._ends(self.template)

    def _ends(self, template: ChatTemplate | None) -> frozenset[int]:
        from pocketlm.chat.prompt import stop_ids

        return stop_ids(self.tokenizer, template, self.checkpoint.generation_config)


def _read(
    options: dict[str, Any],
) -> tuple[Constraint | None, Adapter | None, SamplingParameters]:
    """What an answer must match, what is added to the model, and how it is sampled."""
    constraint = from_options(*(options.pop(name, None) for name in ("schema", "regex", "grammar")))
    adapter = options.pop("adapter", None)
    if not isinstance(adapter, Adapter | None):
        raise ParameterError("adapter must be what Model.adapter returns")
    return constraint, adapter, SamplingParameters.of(options)


def _prefix_home(wanted: Path | str | bool) -> Path:
    if not isinstance(wanted, bool):
        return Path(wanted)
    from pocketlm.store.store import default_home

    return default_home() / "prefixes"


def _context(wanted: int | None, most: int) -> int:
    if wanted is None:
        return most
    if isinstance(wanted, bool) or not isinstance(wanted, int):
        raise ParameterError(f"context is {wanted!r}; it must be a whole number of tokens")
    if not 1 <= wanted <= most:
        raise ParameterError(f"context is {wanted:,}; this model's window is 1 to {most:,} tokens")
    return wanted
