"""Training a model further on examples: SFT, DPO and adapters, by trl's trainers and peft.

It turns configurations into theirs, keeps their checkpoints usable and their logs in our form. The
training itself is theirs.
"""

from __future__ import annotations

import json
import math
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import peft
import torch
import transformers
from accelerate import Accelerator, PartialState
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from pocketlm.errors import ModelFileError, ParameterError
from pocketlm.formats.output import new_folder, writing
from pocketlm.recipe.train import adapters, curve, models
from pocketlm.recipe.train.claim import claim
from pocketlm.recipe.train.configuration import Adapter, DpoRun, LoraRun, SftRun, Tuning
from pocketlm.recipe.train.conversations import (
    Preference,
    read_conversations,
    read_preferences,
    tokens,
)
from pocketlm.recipe.train.errors import TrainingError
from pocketlm.recipe.train.log import Log
from pocketlm.recipe.train.probes import Probes, open_probes, told
from pocketlm.recipe.train.tell import Tell

MODEL, ADAPTER, LOG, CURVE, CHECKPOINTS = "model", "adapter", "log.jsonl", "loss.svg", "checkpoints"
_STATE = "trainer_state.json"
"""The last file that a trainer writes of a checkpoint."""


def tune(run: SftRun | LoraRun, *, show: Tell, note: Tell) -> Path:
    """Supervised fine-tuning: the folder of the model, or of the adapter.

    Goes on where a checkpoint is. Raises ParameterError, ModelFileError, TrainingError (the loss is
    no number) or OutputError.
    """
    prepared = _Prepared(run, run.adapter if isinstance(run, LoraRun) else None, show, note)
    if prepared.finished:
        return prepared.place
    training = prepared.conversations(run.data)
    held_back = None if run.validation is None else prepared.conversations([run.validation])
    arguments = SFTConfig(**prepared.arguments(), max_length=run.context, loss_type="nll")
    trainer = SFTTrainer(
        model=prepared.model,
        args=arguments,
        train_dataset=training,
        eval_dataset=held_back,
        processing_class=prepared.tokenizer,
        peft_config=prepared.adapter,
        callbacks=[prepared.callback],
    )
    return prepared.train(trainer)


def prefer(run: DpoRun, *, show: Tell, note: Tell) -> Path:
    """Direct preference optimisation: the folder of the model, or of the adapter; as `tune`."""
    prepared = _Prepared(run, run.adapter, show, note)
    if prepared.finished:
        return prepared.place
    training = _pairs(read_preferences(run.data))
    held_back = None if run.validation is None else _pairs(read_preferences([run.validation]))
    arguments = DPOConfig(**prepared.arguments(), max_length=run.context, beta=run.beta)
    trainer = DPOTrainer(
        model=prepared.model,
        args=arguments,
        train_dataset=training,
        eval_dataset=held_back,
        processing_class=prepared.tokenizer,
        peft_config=prepared.adapter,
        callbacks=[prepared.callback],
    )
    return prepared.train(trainer)


def _pairs(preferences: list[Preference]) -> datasets.Dataset:
    def answer(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    return datasets.Dataset.from_list(
        [
            {
                "prompt": [message.model_dump() for message in each.messages],
                "chosen": answer(each.chosen),
                "rejected": answer(each.rejected),
            }
            for each in preferences
        ]
    )


class _Prepared:
    """What both kinds of training need: model, tokenizer, arguments, and what is kept of a run."""

    def __init__(self, run: Tuning, adapter: Adapter | None, show: Tell, note: Tell) -> None:
        if run.threads is not None:
            torch.set_num_threads(run.threads)
        self._run, self._note = run, note
        self._with_adapter = adapter is not None
        self.place = run.out / (ADAPTER if adapter else MODEL)
        if not self.place.is_dir():
            models.check_trainable(run.model)  # before the folder is the run's
        claim(run)
        self.finished = self.place.is_dir()
        if self.finished:
            note(f"{run.out} is finished; remove it to train again")
            return
        transformers.set_seed(run.seed)
        base = open_model(run)
        self.model: transformers.PreTrainedModel | peft.PeftModel = base
        self.tokenizer = open_tokenizer(run.model)
        self.adapter = None
        if isinstance(run, LoraRun) and run.begin is not None:
            self.model = adapters.open_further(base, run.begin)
        elif adapter is not None:
            self.adapter = adapters.settings(adapter, base)
        self.probes = open_probes(
            run.choices, run.pairs, models.open_tokenizer(run.model), run.context
        )
        self.callback = _Keeping(run, show, note)

    def conversations(self, paths: Sequence[Path]) -> datasets.Dataset:
        """Ids and labels of files of conversations, cut to the context."""
        rows = []
        cut = 0
        for conversation in read_conversations(paths):
            row = tokens(self.tokenizer, conversation.messages)
            cut += len(row["input_ids"]) > self._run.context
            row = {name: ids[: self._run.context] for name, ids in row.items()}
            if any(label >= 0 for label in row["labels"]):
                rows.append(row)
        if cut:
            self._note(f"{cut:,} conversations are longer than the context, and are cut")
        if not rows:
            raise ParameterError(
                f"context: no answer begins within {self._run.context:,} tokens; nothing is learned"
            )
        return datasets.Dataset.from_list(rows)

    def arguments(self) -> dict[str, Any]:
        """transformers' TrainingArguments, as far as trl's two kinds share them."""
        run = self._run
        processes = PartialState().num_processes
        mine, left = divmod(run.batch, processes)
        micro = run.micro_batch or min(mine, 4)
        if left or not mine or mine % micro:
            raise ParameterError(
                f"batch: {run.batch} examples do not divide among {processes} processes "
                f"with {micro} a forward pass"
            )
        return {
            "output_dir": str(run.out / CHECKPOINTS),
            "num_train_epochs": run.epochs,
            "per_device_train_batch_size": micro,
            "per_device_eval_batch_size": micro,
            "gradient_accumulation_steps": mine // micro,
            "learning_rate": run.peak,
            "lr_scheduler_type": {"constant": "constant_with_warmup"}.get(run.decay, run.decay),
            "warmup_steps": run.warmup,
            "weight_decay": run.weight_decay,
            "max_grad_norm": run.clip,
            "bf16": run.precision == "bfloat16",
            "use_cpu": not torch.cuda.is_available(),
            "gradient_checkpointing": False,
            "ddp_find_unused_parameters": False,
            "seed": run.seed,
            "logging_steps": 1,
            "logging_nan_inf_filter": False,
            "save_strategy": "steps",
            "save_steps": run.checkpoints.every,
            "save_total_limit": run.checkpoints.keep,
            "eval_strategy": "no" if run.validation is None else "epoch",
            "report_to": "none",
            "disable_tqdm": True,
        }

    def train(self, trainer: transformers.Trainer) -> Path:
        """Train to the end, from the newest checkpoint if there is one; write what came of it."""
        run = self._run
        newest = _newest(run.out / CHECKPOINTS)
        trainer.remove_callback(transformers.PrinterCallback)  # it prints each line of the log
        trainer.add_callback(_Probing(self.probes, trainer.accelerator, self.callback))
        if newest is not None:
            self._note(f"going on from {newest}")
        # Lines of the steps that are done again are written again.
        done = 0 if newest is None else json.loads((newest / _STATE).read_bytes())["global_step"]
        main = trainer.is_world_process_zero()
        if main:
            self.callback.begin(Log(run.out / LOG, done))
        with writing(run.out), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                trainer.train(resume_from_checkpoint=None if newest is None else str(newest))
            finally:
                self.callback.end()
        if main:
            curve.draw(run.out / LOG, run.out / CURVE, run.out.resolve().name)
            self._write(trainer)
        trainer.accelerator.wait_for_everyone()
        return self.place

    def _write(self, trainer: transformers.Trainer) -> None:
        model = trainer.accelerator.unwrap_model(trainer.model)
        with new_folder(self.place) as folder:
            if self._with_adapter:
                model.save_pretrained(folder)
            else:
                models.write(folder, model, self._run.model)


class _Keeping(transformers.TrainerCallback):
    """Writes the log as it comes, and stops where the loss is no number."""

    def __init__(self, run: Tuning, show: Tell, note: Tell) -> None:
        self._run, self._show, self._note = run, show, note
        self._log: Log | None = None

    def begin(self, log: Log) -> None:
        """Write to `log` from now on."""
        self._log = log

    def end(self) -> None:
        """No more lines."""
        if self._log is not None:
            self._log.close()

    def on_log(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        logs: dict[str, Any] | None = None,
        **more: object,
    ) -> None:
        """A step is done, or a measurement."""
        step, logs = state.global_step, logs or {}
        if "loss" in logs:
            self._step(step, state.max_steps, logs)
        elif "eval_loss" in logs:
            values = {
                name.removeprefix("eval_"): value
                for name, value in logs.items()
                if name.startswith("eval_") and isinstance(value, float)
            }
            self._write({"step": step, "validation": "held back", **values})
            self._note(f"step {step:,}: held back: loss {values['loss']:.4f}")

    def probed(self, step: int, name: str, scores: dict[str, float]) -> None:
        """A probe was scored."""
        self._write({"step": step, "probe": name, **scores})
        self._note(f"step {step:,}: {name}: {told(scores)}")

    def _step(self, step: int, steps: int, logs: dict[str, Any]) -> None:
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            last = _newest(self._run.out / CHECKPOINTS)
            left = f"the last good checkpoint is {last}" if last else "no checkpoint was kept"
            raise TrainingError(
                f"the loss is {loss} in step {step:,}; {left}. Try a smaller peak, and look at "
                "the examples"
            )
        values = {
            name.replace("/", "_"): float(value)
            for name, value in logs.items()
            if name not in ("loss", "epoch") and isinstance(value, int | float)
        }
        self._write({"step": step, "phase": self._run.out.resolve().name, "loss": loss, **values})
        self._show(f"step {step:,} of {steps:,}  loss {loss:.4f}")

    def _write(self, line: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.write(line)


class _Probing(transformers.TrainerCallback):
    """Scores probes after each epoch."""

    def __init__(self, probes: Probes, accelerator: Accelerator, keeping: _Keeping) -> None:
        self._probes, self._accelerator, self._keeping = probes, accelerator, keeping

    def on_epoch_end(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        model: torch.nn.Module | None = None,
        **more: object,
    ) -> None:
        """All processes come here, each with the whole model."""
        assert model is not None
        for probe in self._probes:
            scores = probe.measure(self._accelerator, model)
            self._keeping.probed(state.global_step, probe.name, scores)


def _newest(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end."""
    whole = []
    for place in folder.glob("checkpoint-*"):
        try:
            json.loads((place / _STATE).read_bytes())
        except (OSError, ValueError):  # a process was killed while it wrote
            shutil.rmtree(place, ignore_errors=True)
            continue
        whole.append(place)
    return max(whole, key=lambda place: int(place.name.rpartition("-")[2]), default=None)


def open_model(run: Tuning) -> transformers.PreTrainedModel:
    """The model to begin from. Raises ModelFileError, or ParameterError for a context too long."""
    return models.load(run.model, context=run.context)


def open_tokenizer(folder: Path) -> transformers.PreTrainedTokenizerFast:
    """A model's tokenizer, which must have a chat template. Raises ModelFileError."""
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{folder}: its tokenizer cannot be opened: {error}") from None
    if not isinstance(tokenizer, transformers.PreTrainedTokenizerFast):
        raise ModelFileError(f"{folder}: holds no tokenizer.json")
    if tokenizer.chat_template is None:
        raise ModelFileError(f"{folder}: its tokenizer has no chat template")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
