"""Pretraining: the loop from token shards to a model, on accelerate.

One step: draw windows, forward and backward in parts, clip, update, log; now and then measure and
keep a checkpoint. All that decides a step is the seed and a checkpoint's contents, so that a run
which was killed goes on as if it had not been. Processes (torchrun) share a step's windows.

A loop of our own and not transformers' Trainer: phases with shares of sources, and resuming without
reading all data again, are a few counters here; there they are a sampler, a collator and callbacks.
What is hard (devices, DDP, FSDP2, bfloat16, saved states) is accelerate's in both.
"""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from accelerate.state import AcceleratorState

from pocketlm.errors import ParameterError
from pocketlm.formats.output import new_folder
from pocketlm.recipe.train import adapters, checkpoints, curve, models
from pocketlm.recipe.train.checkpoints import Progress
from pocketlm.recipe.train.claim import claim
from pocketlm.recipe.train.configuration import PretrainRun
from pocketlm.recipe.train.errors import TrainingError
from pocketlm.recipe.train.interruption import Interruption
from pocketlm.recipe.train.log import Log
from pocketlm.recipe.train.material import gather, micro_batch
from pocketlm.recipe.train.mixture import Mixture, Window
from pocketlm.recipe.train.objective import Distillation, Objective, Parts, next_token
from pocketlm.recipe.train.optimizer import optimizer, schedule
from pocketlm.recipe.train.packing import pack
from pocketlm.recipe.train.probes import told
from pocketlm.recipe.train.tell import Tell, duration

MODEL, ADAPTER, LOG, CURVE, CHECKPOINTS = "model", "adapter", "log.jsonl", "loss.svg", "checkpoints"


def pretrain(
    run: PretrainRun, *, show: Tell = lambda text: None, note: Tell = lambda text: None
) -> Path:
    """Train, or go on where a checkpoint is; the folder of the finished model, or adapter.

    `show` is told of progress, `note` what should stay to be read. Raises ParameterError (data and
    configuration do not fit, the folder is of another run), TrainingError (the loss is no number),
    OutputError (the disk is full), and KeyboardInterrupt after a checkpoint was kept.
    """
    if run.threads is not None:
        torch.set_num_threads(run.threads)
    AcceleratorState._reset_state()  # another run of this process may have had another precision
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="bf16" if run.precision == "bfloat16" else "no",
        fsdp_plugin=_sharding() if run.sharding == "fsdp" else None,
    )
    if not accelerator.is_main_process:
        show = note = _silent
    claim(run)
    place = run.out / (MODEL if run.adapter is None else ADAPTER)
    if place.is_dir():
        note(f"{run.out} is finished; remove it to train again")
        return place
    training = _Pretraining(run, accelerator, show, note)
    training.go_on()
    with Interruption() as interruption:
        training.steps(interruption)
    return training.finish(place)


def _silent(text: str) -> None:
    """Say nothing: the main process speaks for all."""


def _sharding() -> FullyShardedDataParallelPlugin:
    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        state_dict_type="FULL_STATE_DICT",
        cpu_ram_efficient_loading=False,
    )


class _Pretraining:
    """A run, open: model, optimizer, data, and how far it is."""

    def __init__(self, run: PretrainRun, accelerator: Accelerator, show: Tell, note: Tell) -> None:
        self._run, self._accelerator = run, accelerator
        self._show, self._note = show, note
        self._material = gather(run)
        self._micro = micro_batch(run, accelerator.num_processes)
        self._mixture = Mixture(self._material.sources, run.seed)
        model: torch.nn.Module
        model = models.create(run.model, self._material.tokenizer, run.context, run.seed)
        self._config = model.config
        self._objective: Objective = self._objective_for(model)
        if run.adapter is not None:
            model = adapters.add(model, run.adapter, run.seed)
            checkpoints.keep_trained_alone(accelerator)
        adamw = optimizer(model, run.optimizer, run.schedule.peak)
        self._model, self._optimizer = accelerator.prepare(model, adamw)
        self._schedule = schedule(self._optimizer.optimizer, run)
        accelerator.register_for_checkpointing(self._schedule)
        self._progress = Progress()
        self._last: Path | None = None
        self._kept = -1

    def _objective_for(self, model: torch.nn.Module) -> Objective:
        teaching = self._run.teacher
        if teaching is None:
            return next_token
        teacher = models.load(teaching.model, self._material.tokenizer, self._run.context)
        if teacher.config.vocab_size < self._config.vocab_size:
            raise ParameterError(
                f"teacher.model: {teaching.model} has {teacher.config.vocab_size:,} rows, the "
                f"student {self._config.vocab_size:,}; they must share a vocabulary"
            )
        teacher.requires_grad_(False).train(False).to(self._accelerator.device)
        return Distillation(teacher, temperature=teaching.temperature, weight=teaching.weight)

    def go_on(self) -> None:
        """Take over the newest checkpoint, or that of the run that this one branches from."""
        own = checkpoints.newest(self._run.out / CHECKPOINTS)
        place = own or self._run.branch
        if place is not None:
            whole = self._run.adapter is None
            self._progress = checkpoints.load(self._accelerator, place, whole=whole)
            self._note(f"going on from step {self._progress.step:,} ({place})")
            if self._progress.step >= self._run.steps and own is None:
                raise ParameterError(
                    f"branch: {place} is at step {self._progress.step:,}, "
                    f"and the run ends at {self._run.steps:,}"
                )
        self._last = place
        taken = self._progress.taken
        self._mixture.taken = {name: taken.get(name, 0) for name in self._material.sources}

    def steps(self, interruption: Interruption) -> None:
        """Train until the end, or until an interruption that all processes hear of."""
        run, main = self._run, self._accelerator.is_main_process
        with contextlib.ExitStack() as stack:
            log = None
            if main:
                log = Log(run.out / LOG, self._progress.step)
                stack.callback(log.close)
            began, first = time.monotonic(), self._progress.step
            while self._progress.step < run.steps:
                line = self._step()
                step = self._progress.step
                elapsed = time.monotonic() - began
                rate = (step - first) * run.batch * run.context / elapsed
                if log is not None:
                    log.write(line | {"seconds": round(elapsed, 3)})
                left = elapsed / (step - first) * (run.steps - step)
                self._show(
                    f"step {step:,} of {run.steps:,} ({line['phase']})  loss {line['loss']:.4f}"
                    f"  {rate:,.0f} tokens/s  {duration(left)} left"
                )
                if run.validation and (step % run.validation.every == 0 or step == run.steps):
                    self._validate(log)
                stop = self._agreed(interruption.wanted)
                if step % run.checkpoints.every == 0 or step == run.steps or stop:
                    self._keep()
                if stop and step < run.steps:
                    self._note(f"stopped after step {step:,}; the same command goes on")
                    raise KeyboardInterrupt

    def _step(self) -> dict[str, Any]:
        """Train on one batch; what the log says of it."""
        run, accelerator, progress = self._run, self._accelerator, self._progress
        phase = run.phase_at(progress.step)
        if phase.name != progress.phase:
            progress.phase, progress.since = phase.name, dict(self._mixture.taken)
        named = self._mixture.batch(run.batch, phase.mix, progress.since)
        mine = named[accelerator.process_index :: accelerator.num_processes]
        parts = [mine[start : start + self._micro] for start in range(0, len(mine), self._micro)]
        found: list[Parts] = []
        for index, part in enumerate(parts):
            windows = self._mixture.read(part)
            batch = pack(windows, across_documents=run.across_documents).to(accelerator.device)
            last = index == len(parts) - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(self._model):
                with accelerator.autocast():
                    losses = self._objective(self._model, batch)
                accelerator.backward(losses["loss"] / len(parts))
            found.append({name: value.detach() for name, value in losses.items()})
        norm = float(accelerator.clip_grad_norm_(self._model.parameters(), run.optimizer.clip) or 0)
        means = {
            name: self._mean(torch.stack([losses[name] for losses in found])) for name in found[0]
        }
        if not (math.isfinite(means["loss"]) and math.isfinite(norm)):
            raise self._not_a_number(means["loss"], norm, parts, found)
        self._optimizer.step()
        self._optimizer.zero_grad()
        rate = self._schedule.get_last_lr()[0]
        self._schedule.step()
        progress.step += 1
        progress.taken = dict(self._mixture.taken)
        return {
            "step": progress.step,
            "phase": phase.name,
            **means,
            "norm": norm,
            "rate": rate,
            "tokens": progress.step * run.batch * run.context,
        }

    def _mean(self, values: torch.Tensor) -> float:
        """The mean over all processes, which all hear of."""
        mean = self._accelerator.reduce(values.mean(), "mean")
        assert isinstance(mean, torch.Tensor)
        return mean.item()

    def _not_a_number(
        self, loss: float, norm: float, parts: list[list[tuple[str, int]]], found: list[Parts]
    ) -> TrainingError:
        """Say where, and what is left. Nothing was updated."""
        what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient is {norm}"
        where = ""
        for part, losses in zip(parts, found, strict=True):
            if not math.isfinite(float(losses["loss"])):
                windows = self._mixture.read(part)
                where = f", first in {' or '.join(map(_named, windows[:4]))}"
                break
        left = (
            f"the last good checkpoint is {self._last}" if self._last else "no checkpoint was kept"
        )
        return TrainingError(
            f"{what} in step {self._progress.step + 1:,} (phase {self._progress.phase}{where}); "
            f"{left}. Try a smaller schedule.peak or a longer warmup, and look at that text"
        )

    def _validate(self, log: Log | None) -> None:
        bare = self._run.sharding == "none"
        model = self._accelerator.unwrap_model(self._model) if bare else self._model
        for held_back in self._material.held_back:
            measured = held_back.measure(
                self._accelerator,
                model,
                self._micro,
                across_documents=self._run.across_documents,
            )
            if log is not None:
                log.write(
                    {
                        "step": self._progress.step,
                        "validation": held_back.name,
                        "loss": measured.loss,
                        "bits_per_byte": measured.bits_per_byte,
                    }
                )
            self._note(
                f"step {self._progress.step:,}: {held_back.name}: loss {measured.loss:.4f}, "
                f"{measured.bits_per_byte:.4f} bits a byte"
            )
        for probe in self._material.probes:
            scores = probe.measure(self._accelerator, model)
            if log is not None:
                log.write({"step": self._progress.step, "probe": probe.name, **scores})
            self._note(f"step {self._progress.step:,}: {probe.name}: {told(scores)}")

    def _keep(self) -> None:
        """Write a checkpoint, and the curve as it is."""
        if self._kept == self._progress.step:
            return
        run = self._run
        folder = run.out / CHECKPOINTS
        folder.mkdir(exist_ok=True)
        self._last = checkpoints.save(
            self._accelerator,
            folder,
            self._progress,
            run.checkpoints.keep,
            self._describe,
        )
        self._kept = self._progress.step
        if self._accelerator.is_main_process:
            curve.draw(run.out / LOG, run.out / CURVE, run.out.resolve().name)

    def _describe(self, folder: Path) -> None:
        """What transformers, or peft, needs to open a checkpoint's weights."""
        if self._run.adapter is None:
            self._config.save_pretrained(folder)
        else:
            adapted: Any = self._accelerator.unwrap_model(self._model)
            adapted.peft_config["default"].save_pretrained(folder)

    def _agreed(self, wanted: bool) -> bool:
        """Whether any process was asked to stop."""
        if self._accelerator.num_processes == 1:
            return wanted
        flag = torch.tensor(float(wanted), device=self._accelerator.device)
        return float(self._accelerator.reduce(flag)) > 0

    def finish(self, place: Path) -> Path:
        """Write the model, or the adapter, as transformers and peft, and the engine, open it."""
        accelerator = self._accelerator
        state = accelerator.get_state_dict(self._model)
        if accelerator.is_main_process:
            with new_folder(place) as folder:
                model = accelerator.unwrap_model(self._model)
                if self._run.adapter is None:
                    models.write(folder, model, self._run.tokenizer, state)
                else:
                    model.save_pretrained(folder)
        accelerator.wait_for_everyone()
        return place


def _named(window: Window) -> str:
    first, last = int(window.documents[0]), int(window.documents[-1])
    documents = f"document {first}" if first == last else f"documents {first} to {last}"
    return f"{documents} of {window.source}"
