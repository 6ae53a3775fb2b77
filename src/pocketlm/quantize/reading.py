"""Models reading the same text, window by window, to see how well they predict it.

It knows checkpoints, the runtime and texts. What the logits say is `quality`'s matter.

As in llama.cpp's perplexity tool, a text is cut into windows of `context` tokens, each read by
itself; the first token of each is BOS where the vocabulary wants one, and only tokens of its second
half are predicted, which have at least half a window before them. Keys and values are cached in 16
bits, so that nothing but the weights differs between models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from pocketlm.engine.adapters import bind
from pocketlm.engine.engine import CHUNK
from pocketlm.engine.runtime import Runtime
from pocketlm.errors import ModelFileError, ParameterError
from pocketlm.formats.checkpoint import Checkpoint, naming
from pocketlm.formats.gguf_checkpoint import part_paths
from pocketlm.formats.lora import open_lora
from pocketlm.formats.open import open_checkpoint
from pocketlm.formats.tokenizer import Tokenizer
from pocketlm.models import build
from pocketlm.quantize.quality import Likelihood, Loss, compare, likelihood

CONTEXT = 512
TOKENS = 8192

#: LoRA adapters, each with a scale: (path, scale).
Loras = Sequence[tuple[Path, float]]
Ids = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Size:
    """What a model takes on disk; bits are those of all tensors, norms and embedding included."""

    file_bytes: int
    bits_per_weight: float


class Reader:
    """A model that reads windows of tokens. A context manager; `close` gives its memory back."""

    def __init__(
        self,
        path: Path,
        *,
        lora: Loras = (),
        context: int = CONTEXT,
        threads: int | None = None,
    ) -> None:
        """Open the model at `path`, for windows of `context` tokens; `lora` is added to it.

        Raises ModelFileError, UnsupportedError, or ParameterError for a context beyond the model's.
        """
        if context < 4:
            raise ParameterError(f"context is {context}; it must be 4 tokens at least")
        self.path = path
        self.context = context
        self._checkpoint = open_checkpoint(path)
        try:
            self._prepare(lora, threads)
        except BaseException:
            self._checkpoint.close()
            raise

    def _prepare(self, lora: Loras, threads: int | None) -> None:
        checkpoint = self._checkpoint
        self.tokenizer: Tokenizer = checkpoint.tokenizer()
        program = build(checkpoint.config, checkpoint.tensors)
        if self.context > program.context:
            raise ParameterError(
                f"context is {self.context:,}; {self.path} has a window of {program.context:,}"
            )
        self.vocab_size = program.vocab_size
        tensors = [checkpoint.tensors[name] for name in checkpoint.tensors]
        numbers = sum(prod(tensor.shape) for tensor in tensors)
        self.size = Size(_file_bytes(checkpoint), 8 * sum(t.nbytes for t in tensors) / numbers)
        self._runtime = Runtime(program, checkpoint.tensors, threads=threads, cache_type="f16")
        loras = [(open_lora(path), scale) for path, scale in lora]
        self._adapters = [bind(program, loras).native]
        cache = self._runtime.cache
        blocks = [cache.allocate() for _ in range(-(-self.context // cache.block_positions))]
        self._table = np.array(blocks, dtype=np.int32)
        self._rope_set = program.rope.set_for(self.context)

    def logits(self, window: Ids) -> Iterator[npt.NDArray[np.float32]]:
        """Logits that predict the second half of a window, part by part: float32 [n, vocabulary].

        Their rows follow `window[context // 2 :]`, and are one less than these: the last token
        predicts none. Raises ModelFileError where they are not finite.
        """
        first, last = len(window) // 2, len(window) - 1
        for start in range(0, last, CHUNK):
            part = window[start : start + CHUNK].tolist()
            picks = range(max(first - start, 0), min(len(part), last - start))
            segment = (len(part), start, self._rope_set, self._table)
            logits = self._runtime.run(part, [segment], picks, self._adapters)
            if not np.isfinite(logits).all():
                raise ModelFileError(
                    f"{self.path}: computes logits that are not finite; the weights are damaged"
                )
            if len(picks):
                yield logits

    def close(self) -> None:
        """Give the memory back."""
        del self._runtime, self._adapters
        self._checkpoint.close()

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


@dataclass(frozen=True)
class Reading:
    """How all models read one text."""

    name: str
    #: Token ids, [windows, context].
    ids: Ids
    #: One for each model, a Loss where there is a reference: [windows, predicted tokens].
    found: Sequence[Likelihood]


@dataclass(frozen=True)
class Results:
    """How models read texts."""

    models: Sequence[Size]
    reference: Size | None
    readings: Sequence[Reading]


def measure(
    models: Sequence[Path],
    texts: Sequence[Path],
    *,
    against: Path | None = None,
    lora: Loras = (),
    context: int = CONTEXT,
    tokens: int = TOKENS,
    threads: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Results:
    """Let models read the first `tokens` tokens of text files, beside a reference if there is one.

    `lora` are adapters, each (path, scale), of the models and not of the reference. All are in
    memory together, so that the reference reads once. `progress` is told what is under
    way. Raises Error for a model or a text that cannot be read, or for models of different
    vocabularies.
    """
    contents = [read_text(path) for path in texts]
    with ExitStack() as stack:
        readers = []
        opened = [(path, lora) for path in models] + ([] if against is None else [(against, ())])
        for path, added in opened:
            progress(f"loading {path.name}")
            reader = Reader(path, lora=added, context=context, threads=threads)
            readers.append(stack.enter_context(reader))
        for reader in readers:
            check_same_vocabulary(reader, readers[-1])
        sizes = [reader.size for reader in readers]
        cuts = []
        for path, content in zip(texts, contents, strict=True):
            with naming(path):
                tokenizer = readers[-1].tokenizer
                cuts.append(windows(content, tokenizer, context=context, tokens=tokens))
        reference = None if against is None else readers.pop()
        readings = [
            _reading(str(path), ids, readers, reference, progress)
            for path, ids in zip(texts, cuts, strict=True)
        ]
    count = len(models)
    return Results(sizes[:count], None if against is None else sizes[count], readings)


def read_text(path: Path) -> str:
    """A text file's text. Raises ParameterError for one that is missing, empty or not UTF-8."""
    try:
        if not path.is_file():
            raise ParameterError(f"{path}: no such text file")
        data = path.read_bytes()
    except OSError as error:
        raise ParameterError(f"cannot read {path}: {error.strerror}") from None
    if not data.strip():
        raise ParameterError(f"{path}: the text is empty")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ParameterError(f"{path} is not UTF-8 text (byte {error.start:,})") from None


def windows(
    text: str, tokenizer: Tokenizer, *, context: int = CONTEXT, tokens: int = TOKENS
) -> Ids:
    """The first `tokens` tokens of a text in whole windows: ids, [windows, context].

    Raises ParameterError for a text, or a number of tokens, that has not two windows.
    """
    needed = f"two windows of {context:,} tokens are needed at least"
    if tokens < 2 * context:
        raise ParameterError(f"{tokens:,} tokens are too few: {needed}")
    begin = [tokenizer.bos_id] if tokenizer.add_bos and tokenizer.bos_id is not None else []
    characters = 4 * tokens
    while True:  # no more of a long text is tokenised than it takes
        ids = begin + tokenizer.encode(text[:characters])
        if len(ids) > tokens or characters >= len(text):
            break
        characters *= 2
    count = min(len(ids), tokens) // context
    if count < 2:
        raise ParameterError(
            f"the text has {len(ids):,} tokens, and {needed}: give a longer text or a smaller "
            "context"
        )
    cut = np.array(ids[: count * context], dtype=np.intp).reshape(count, context)
    cut[:, : len(begin)] = begin
    return cut


def check_same_vocabulary(model: Reader, reference: Reader) -> None:
    """Raise ParameterError unless a token id means the same to both."""
    of_model, of_reference = model.tokenizer, reference.tokenizer
    if model.vocab_size != reference.vocab_size:
        raise ParameterError(
            f"{model.path} predicts {model.vocab_size:,} tokens and {reference.path} "
            f"{reference.vocab_size:,}: only models of one vocabulary can be compared"
        )
    # One file may list padding that the other leaves out.
    for id in range(min(of_model.vocab_size, of_reference.vocab_size)):
        if id in of_model.unused or id in of_reference.unused:
            continue
        ours, theirs = of_model.spelling(id), of_reference.spelling(id)
        if ours != theirs:
            raise ParameterError(
                f"token {id} is {ours!r} in {model.path} and {theirs!r} in {reference.path}: only "
                "models of one vocabulary can be compared"
            )


def losses(
    models: Sequence[Reader],
    reference: Reader,
    text: Ids,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Loss]:
    """What each model lost on `text` [windows, context]; all models and the reference read in step.

    The arrays of a Loss are [windows, predicted tokens]. `progress` is told where they are.
    """
    parts: list[list[Loss]] = [[] for _ in models]
    for right, (of_reference, *rows) in _in_step([reference, *models], text, progress):
        for of_model, logits in zip(parts, rows, strict=True):
            of_model.append(compare(of_reference, logits, right))
    return [Loss.joined(of_model, windows=len(text)) for of_model in parts]


def likelihoods(
    models: Sequence[Reader], text: Ids, progress: Callable[[str], None] = lambda _: None
) -> list[Likelihood]:
    """As `losses`, without a reference."""
    parts: list[list[Likelihood]] = [[] for _ in models]
    for right, rows in _in_step(models, text, progress):
        for of_model, logits in zip(parts, rows, strict=True):
            of_model.append(likelihood(logits, right))
    return [Likelihood.joined(of_model, windows=len(text)) for of_model in parts]


def _reading(
    name: str,
    ids: Ids,
    models: Sequence[Reader],
    reference: Reader | None,
    progress: Callable[[str], None],
) -> Reading:
    def tell(where: str) -> None:
        progress(f"reading {name}, {where}")

    if reference is None:
        return Reading(name, ids, likelihoods(models, ids, tell))
    return Reading(name, ids, losses(models, reference, ids, tell))


def _in_step(
    readers: Sequence[Reader], text: Ids, progress: Callable[[str], None]
) -> Iterator[tuple[Ids, list[npt.NDArray[np.float32]]]]:
    """Part by part of all windows: the right tokens, and every reader's logits for them."""
    for number, window in enumerate(text, 1):
        progress(f"window {number:,} of {len(text):,}")
        at = len(window) // 2 + 1
        for rows in zip(*(reader.logits(window) for reader in readers), strict=True):
            yield window[at : at + len(rows[0])], list(rows)
            at += len(rows[0])


def _file_bytes(checkpoint: Checkpoint) -> int:
    """Bytes of the files that hold a model's weights."""
    path = checkpoint.path
    files = part_paths(path) if checkpoint.kind == "gguf" else path.glob("*.safetensors")
    return sum(file.stat().st_size for file in files)
