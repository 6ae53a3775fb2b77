"""What a pretraining run will take, before it is begun: weights, tokens, memory, time.

Counts are exact. Memory is an estimate from them; time is the arithmetic of training over what this
machine's matrix products reach, at the share of it that training usually gets.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch
import transformers

from pocketlm.recipe.train import adapters
from pocketlm.recipe.train.configuration import Architecture, PretrainRun
from pocketlm.recipe.train.material import Material, gather, micro_batch
from pocketlm.recipe.train.models import configuration, load, parameters
from pocketlm.recipe.train.optimizer import decay_steps
from pocketlm.recipe.train.tell import duration

#: Weights, their gradients and AdamW's two moments, float32.
STATE_BYTES = 16
#: Values that a layer keeps of a token for the backward pass, in units of its width: what enters
#: norms and products, attention's output, and the gated part's three activations (see `plan`).
_KEPT = 10
#: Of the measured rate of large products, what training a small model reaches (docs/training.md).
USUAL = 0.4


@dataclass(frozen=True)
class Plan:
    """What it takes. `flops` are of one token, forward and backward."""

    run: PretrainRun
    parameters: int
    trained: int
    micro: int
    flops: float
    peak: float
    memory: float
    epochs: dict[str, float]

    @property
    def tokens(self) -> int:
        """Tokens of the run."""
        return self.run.steps * self.run.batch * self.run.context

    @property
    def seconds(self) -> float:
        """An estimate."""
        return self.tokens * self.flops / (self.peak * USUAL)

    def rows(self) -> list[tuple[str, str]]:
        """A table for people."""
        run = self.run
        each = f"{run.batch} sequences of {run.context:,} tokens, {self.micro} at a time"
        count = f"{self.parameters:,}"
        if run.adapter is not None:
            count += f", of which {self.trained:,} are trained"
        rows = [
            ("parameters", count),
            ("tokens", f"{self.tokens:,} ({self.tokens / self.parameters:.2f} a parameter)"),
            ("steps", f"{run.steps:,}, each of {each}"),
        ]
        for phase in run.phases:
            whole = sum(phase.mix.values())
            mix = ", ".join(f"{share / whole:.0%} {name}" for name, share in phase.mix.items())
            rows.append((f"phase {phase.name}", f"{run.steps_of(phase):,} steps: {mix}"))
        rows += [
            (f"source {name}", f"read {epochs:.2f} times") for name, epochs in self.epochs.items()
        ]
        schedule = run.schedule
        decay = f", decay {decay_steps(run):,}" if schedule.kind == "wsd" else ""
        rows += [
            ("rate", f"{schedule.kind}: peak {schedule.peak:g}, warmup {schedule.warmup:,}{decay}"),
            ("memory", f"about {self.memory / 1e9:.2g} GB"),
            (
                "time",
                f"about {duration(self.seconds)} ({self.flops / 1e6:.3g} MFLOP a token; products "
                f"reach {self.peak / 1e9:.3g} GFLOP/s here, training about {USUAL:.0%} of it)",
            ),
        ]
        return rows


def plan(run: PretrainRun) -> Plan:
    """Work it out. Raises what the run would for data and configuration that do not fit."""
    if run.threads is not None:
        torch.set_num_threads(run.threads)
    material = gather(run)
    micro = micro_batch(run, 1)
    if isinstance(run.model, Architecture):
        new = configuration(run.model, material.tokenizer, run.context)
        with torch.device("meta"):
            model: transformers.PreTrainedModel = transformers.Phi3ForCausalLM(new)
    else:
        model = load(run.model, material.tokenizer, run.context)
    count, config = parameters(model), model.config
    trained = count if run.adapter is None else adapters.weights(run.adapter, model)
    # Of an adapted model no weight's own gradient is needed: two products of three.
    flops = flops_per_token(model, run.context) * (1 if run.adapter is None else 2 / 3)
    width, layers = config.hidden_size, config.num_hidden_layers
    logits = 3 * 4 * config.vocab_size
    kept = 4 * layers * (_KEPT * width + 3 * config.intermediate_size)
    memory = 4 * count + (STATE_BYTES - 4) * trained + micro * run.context * (logits + kept)
    return Plan(
        run,
        count,
        trained,
        micro,
        flops,
        product_rate(),
        memory,
        _epochs(run, material),
    )


def flops_per_token(model: transformers.PreTrainedModel, context: int) -> float:
    """Floating-point operations to train on one token: 6 for each weight of a matrix product, and
    attention's, 6 for each of its width, layer and token before it (Kaplan et al. 2020; causal,
    so half the context on average).
    """
    matrices: int = sum(
        module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Linear)
    )
    config = model.config
    attention: int = config.num_hidden_layers * config.hidden_size * context
    return 6.0 * (matrices + attention)


def product_rate(size: int = 1024, seconds: float = 0.5) -> float:
    """Floating-point operations a second of large float32 products, with the threads that are set:
    the median of what fits into `seconds`.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a = torch.randn(size, size, device=device)
    b = torch.randn(size, size, device=device)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 3 or time.perf_counter() < end:
        began = time.perf_counter()
        float((a @ b)[0, 0])  # a value, so that an accelerator has to be done
        taken.append(time.perf_counter() - began)
    return 2.0 * size**3 / statistics.median(taken[1:])


def _epochs(run: PretrainRun, material: Material) -> dict[str, float]:
    """How often each source is read."""
    taken = dict.fromkeys(material.sources, 0.0)
    for phase in run.phases:
        whole = sum(phase.mix.values())
        for name, share in phase.mix.items():
            taken[name] += run.steps_of(phase) * run.batch * share / whole
    return {name: count / material.sources[name].count for name, count in taken.items()}
