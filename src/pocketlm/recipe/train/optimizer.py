"""The optimizer and its learning rate: torch's AdamW, transformers' schedules."""

from __future__ import annotations

import torch
from torch.optim.lr_scheduler import LRScheduler
from transformers import optimization

from pocketlm.recipe.train.configuration import Optimizer, PretrainRun


def optimizer(model: torch.nn.Module, settings: Optimizer, rate: float) -> torch.optim.AdamW:
    """AdamW with two groups: what is a matrix of a layer decays, all else does not."""
    decaying: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        matrix = parameter.ndim >= 2 and "embed" not in name
        (decaying if matrix else others).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": decaying, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=True,
    )


def schedule(optimizer: torch.optim.Optimizer, run: PretrainRun) -> LRScheduler:
    """The learning rate of each step of the run."""
    settings, steps = run.schedule, run.steps
    made: LRScheduler
    if settings.kind == "constant":
        made = optimization.get_constant_schedule_with_warmup(optimizer, settings.warmup)
    elif settings.kind == "cosine":
        made = optimization.get_cosine_with_min_lr_schedule_with_warmup(
            optimizer, settings.warmup, steps, min_lr_rate=settings.floor
        )
    else:
        made = optimization.get_wsd_schedule(
            optimizer,
            settings.warmup,
            decay_steps(run),
            num_training_steps=steps,
            decay_type="linear",
            min_lr_ratio=settings.floor,
        )
    return made


def decay_steps(run: PretrainRun) -> int:
    """How long the rate of a `wsd` schedule decays."""
    if run.schedule.decay is not None:
        return run.schedule.decay
    last = run.steps_of(run.phases[-1]) if len(run.phases) > 1 else max(1, run.steps // 5)
    return min(last, run.steps - run.schedule.warmup)
