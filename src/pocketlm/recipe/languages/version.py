"""A language version of a model, from texts to an adapter or a model: the steps, in their order.

Each step is what a command of `pocketlm data` or `train` does, by a file that is written for it
into the folder; each goes on where it was stopped. It knows which follows which, and how long
training is for so much text. The steps themselves are done by the rooms that they belong to.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketlm.errors import ParameterError
from pocketlm.formats.output import new_file, writing
from pocketlm.recipe import yaml_file
from pocketlm.recipe.data.build import build
from pocketlm.recipe.data.recipe import Recipe
from pocketlm.recipe.data.shards import DESCRIPTION, Shards
from pocketlm.recipe.languages.corpus import HELD_BACK, TRAINING, Documents, recipe, write_shards
from pocketlm.recipe.languages.language import Language
from pocketlm.recipe.train.configuration import LoraRun, PretrainRun, SftRun
from pocketlm.recipe.train.tell import Tell

_STATE = "language.json"
#: Tokens of a window, windows a step at most and a forward pass at most, and steps at least: small
#: corpora have smaller steps, so that the rate has time to rise and fall.
_CONTEXT, _BATCH, _PASS, _STEPS = 512, 16, 4, 150
_WARMUP, _MEASURED = 20, 5
#: Tokens of held-back text at a measurement, as a part of those trained on.
_PART = 40


@dataclass(frozen=True)
class Wanted:
    """What is to be made of which model and texts, in the folder `out`.

    `base` is a model as the engine opens it. With `whole` all weights are trained, after
    `vocabulary` tokens were added; else an adapter. `tokens` None is one pass over the texts.
    """

    language: Language
    base: Path
    data: Path
    out: Path
    english: Path | None = None
    chats: Path | None = None
    whole: bool = False
    vocabulary: int | None = None
    tokens: int | None = None
    threads: int | None = None

    @property
    def new_tokens(self) -> int:
        """How many tokens are added at most."""
        given = self.language.vocabulary if self.vocabulary is None else self.vocabulary
        return given if self.whole else 0


@dataclass(frozen=True)
class Step:
    """One step: its result `place`, and what it does there."""

    name: str
    what: str
    place: Path
    run: Callable[[Tell, Tell], object]
    """Told of progress, and of what stays to be read."""


class Version:
    """The making of one language version, as far as it is."""

    def __init__(self, wanted: Wanted) -> None:
        """Plan it; nothing is done yet. Raises ParameterError for what does not go together."""
        if wanted.vocabulary and not wanted.whole:
            raise ParameterError(
                "--vocabulary goes with --whole: an adapter is switched beside others of its base,"
                " and keeps the base's tokenizer"
            )
        if wanted.chats is not None and not wanted.chats.is_file():
            raise ParameterError(f"{wanted.chats}: there is no such file of conversations")
        self._wanted = wanted
        self._code = wanted.language.code
        self._steps = list(self._planned())

    @property
    def place(self) -> Path:
        """Where the adapter, or the model, will lie."""
        return self._steps[-1].place

    @property
    def base(self) -> Path:
        """The folder of the model that is trained, or that the adapter is for."""
        own = self._wanted.base.is_dir()
        return self._wanted.base.absolute() if own else self._out("base")

    def rows(self) -> list[tuple[str, str]]:
        """A table of the steps for people, with what training will take once it can be told."""
        found = []
        for number, step in enumerate(self._steps, 1):
            done = " (done)" if step.place.exists() else ""
            found.append((f"{number} {step.name}", f"{step.what}{done}"))
            if step.name == "pretrain" and (self._shards(self._code) / DESCRIPTION).is_file():
                from pocketlm.recipe.train.plan import plan

                found += [(f"  {name}", value) for name, value in plan(self._pretraining()).rows()]
        return found

    def make(self, show: Tell, note: Tell) -> Path:
        """Do the steps that are not done; the folder of the adapter, or of the model.

        Raises what the steps do; ParameterError where the folder is of another version.
        """
        self._claim()
        for number, step in enumerate(self._steps, 1):
            if not step.place.exists():
                note(f"{number} of {len(self._steps)}: {step.name}: {step.what}")
                step.run(show, note)
        return self.place

    def _planned(self) -> list[Step]:
        wanted, language = self._wanted, self._wanted.language
        steps = []
        if not wanted.base.is_dir():
            what = f"{wanted.base.name} as a folder that is trained from"
            steps.append(Step("base", what, self.base, self._export))
        texts = {self._code: wanted.data} | ({"en": wanted.english} if wanted.english else {})
        for code, data in texts.items():
            what = f"texts of {data}, filtered, by {code}.yaml"
            # Its tallies come last of a build.
            place = self._documents(code).folder / _DONE
            steps.append(Step(f"documents {code}", what, place, self._builder(code, data)))
        if wanted.new_tokens:
            what = f"up to {wanted.new_tokens:,} {language.name} tokens more"
            steps.append(Step("vocabulary", what, self._trained_from, self._extend))
        for code in texts:
            what = f"tokens of them, in {self._shards(code)}"
            steps.append(Step(f"shards {code}", what, self._shards(code), self._tokeniser(code)))
        kind = "model" if wanted.whole else "adapter"
        what = f"the {kind}, on text, by pretrain.yaml"
        steps.append(Step("pretrain", what, self._out("pretrained", kind), self._pretrain))
        if wanted.chats is not None:
            what = f"the {kind}, on conversations, by tune.yaml"
            steps.append(Step("tune", what, self._out("tuned", kind), self._tune))
        return steps

    # The steps

    def _export(self, show: Tell, note: Tell) -> None:
        from pocketlm.quantize.export import export

        export(self._wanted.base, self.base, "safetensors", note=note)

    def _builder(self, code: str, data: Path) -> Callable[[Tell, Tell], object]:
        def run(show: Tell, note: Tell) -> None:
            language = self._wanted.language if code == self._code else None
            file = self._write(
                f"{code}.yaml", "data build", recipe(code, data.absolute(), language)
            )
            folder = self._documents(code).folder
            wanted = yaml_file.read(file, Recipe)
            build(wanted, folder, "local", self._wanted.threads or os.cpu_count() or 1, show)
            with new_file(folder / _DONE):
                pass

        return run

    def _extend(self, show: Tell, note: Tell) -> None:
        from pocketlm.recipe.languages.vocabulary import extend_model

        texts = self._documents(self._code).training()
        extension = extend_model(self.base, self._trained_from, texts, self._wanted.new_tokens)
        note(f"{len(extension.pieces):,} tokens were added")

    def _tokeniser(self, code: str) -> Callable[[Tell, Tell], object]:
        def run(show: Tell, note: Tell) -> None:
            show(f"tokenising {code}")
            write_shards(self._documents(code), self._trained_from, self._shards(code).parent)

        return run

    def _pretrain(self, show: Tell, note: Tell) -> None:
        from pocketlm.recipe.train.loop import pretrain

        run = self._pretraining()
        self._write("pretrain.yaml", "train pretrain", _said(run))
        pretrain(run, show=show, note=note)

    def _tune(self, show: Tell, note: Tell) -> None:
        from pocketlm.recipe.train.tuning import tune

        run = self._tuning()
        self._write("tune.yaml", "train sft" if self._wanted.whole else "train lora", _said(run))
        tune(run, show=show, note=note)

    def _pretraining(self) -> PretrainRun:
        """The run on text. Its length follows from the text that there is."""
        wanted, training = self._wanted, self._wanted.language.training
        shards = Shards(self._shards(self._code))
        english = wanted.language.english if wanted.english else 0.0
        tokens = wanted.tokens or round(shards.tokens / (1 - english))
        context = min(_CONTEXT, _positions(self._trained_from))
        batch = 1
        while 2 * batch <= _BATCH and tokens // (2 * batch * context) >= _STEPS:
            batch *= 2
        steps = max(2, -(-tokens // (batch * context)))
        mix = {self._code: 1 - english} | ({"en": english} if english else {})
        held_back = {code: self._shards(code).parent / HELD_BACK for code in mix}
        measured = {code: each for code, each in held_back.items() if Shards(each).tokens > context}
        adapter = training.adapter
        values: dict[str, Any] = {
            "out": self._out("pretrained"),
            "tokenizer": self._trained_from,
            "model": self._trained_from,
            "sources": {code: self._shards(code) for code in mix},
            "phases": [{"name": "text", "steps": steps, "mix": mix}],
            "context": context,
            "batch": batch,
            "micro_batch": min(batch, _PASS),
            "schedule": {
                "kind": "cosine",
                "peak": training.whole.peak if wanted.whole else adapter.peak,
                "warmup": steps // _WARMUP,
            },
            "checkpoints": {"every": max(1, steps // 10)},
        }
        if measured:
            values["validation"] = {
                "sets": measured,
                "every": max(1, steps // _MEASURED),
                "tokens": max(context, tokens // _PART),
            }
        if wanted.threads is not None:
            values["threads"] = wanted.threads
        if not wanted.whole:
            values["adapter"] = {"rank": adapter.rank, "alpha": adapter.alpha}
        return PretrainRun.model_validate(values)

    def _tuning(self) -> SftRun | LoraRun:
        wanted, training = self._wanted, self._wanted.language.training.conversations
        assert wanted.chats is not None
        values: dict[str, Any] = {
            "out": self._out("tuned"),
            "data": [wanted.chats.absolute()],
            "epochs": training.epochs,
            "peak": training.peak,
            "context": min(1024, _positions(self._trained_from)),
        }
        if wanted.threads is not None:
            values["threads"] = wanted.threads
        if wanted.whole:
            return SftRun.model_validate(values | {"model": self._out("pretrained", "model")})
        begin = self._out("pretrained", "adapter")
        return LoraRun.model_validate(values | {"model": self.base, "begin": begin})

    # Places

    def _out(self, *names: str) -> Path:
        return self._wanted.out.absolute().joinpath(*names)

    @property
    def _trained_from(self) -> Path:
        """The base, or that with more tokens."""
        return self._out("extended") if self._wanted.new_tokens else self.base

    def _documents(self, code: str) -> Documents:
        return Documents(self._out("documents", code))

    def _shards(self, code: str) -> Path:
        return self._out("shards", code, TRAINING)

    def _write(self, name: str, command: str, values: dict[str, Any]) -> Path:
        import yaml

        path = self._out(name)
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        with new_file(path) as file:
            file.write(f"# pocketlm {command} {name}\n{text}".encode())
        return path

    def _claim(self) -> None:
        """Make the folder this version's, or see that it is."""
        path, wanted = self._out(_STATE), self._wanted
        values = {
            "language": wanted.language.model_dump(mode="json"),
            "model": str(wanted.base.absolute()),
            "data": str(wanted.data.absolute()),
            "english": wanted.english and str(wanted.english.absolute()),
            "whole": wanted.whole,
            "vocabulary": wanted.new_tokens,
        }
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with new_file(path) as file:
                file.write(json.dumps(values, indent=1, ensure_ascii=False).encode() + b"\n")
            return
        before = json.loads(path.read_bytes())
        others = [name for name in values if before.get(name) != values[name]]
        if others:
            raise ParameterError(
                f"{path.parent}: holds a version with another {', '.join(others)}; name another"
                " folder by --out, or remove this one"
            )


#: Written into a build's folder when it has come to its end.
_DONE = "done"


def _said(run: PretrainRun | SftRun | LoraRun) -> dict[str, Any]:
    """A run as its file has it: what was set, nothing else."""
    values: dict[str, Any] = run.model_dump(mode="json", exclude_unset=True)
    return values


def _positions(folder: Path) -> int:
    """How many positions a model has."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        return int(config["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ParameterError(
            f"{folder}: holds no model that transformers opens (no sound config.json)"
        ) from None
