"""What fine-tuning will take, before it is begun: examples, tokens, steps, memory, time."""

from __future__ import annotations

import math

import torch

from pocketlm.recipe.train import adapters, models
from pocketlm.recipe.train.configuration import DpoRun, LoraRun, SftRun
from pocketlm.recipe.train.conversations import (
    Message,
    read_conversations,
    read_preferences,
    tokens,
)
from pocketlm.recipe.train.plan import STATE_BYTES, USUAL, flops_per_token, product_rate
from pocketlm.recipe.train.tell import duration
from pocketlm.recipe.train.tuning import open_model, open_tokenizer


def rows(run: SftRun | LoraRun | DpoRun) -> list[tuple[str, str]]:
    """A table for people. Raises what the run would for a model and data that do not fit."""
    if run.threads is not None:
        torch.set_num_threads(run.threads)
    model, tokenizer = open_model(run), open_tokenizer(run.model)
    count = trained = models.parameters(model)
    adapter = None if isinstance(run, SftRun) else run.adapter
    if isinstance(run, LoraRun) and run.begin is not None:
        further = adapters.open_further(model, run.begin)
        trained = sum(each.numel() for each in further.parameters() if each.requires_grad)
    elif adapter is not None:
        trained = adapters.weights(adapter, model)
    if isinstance(run, DpoRun):
        pairs = read_preferences(run.data)
        examples = len(pairs)
        conversations = [
            [*pair.messages, Message(role="assistant", content=answer)]
            for pair in pairs
            for answer in (pair.chosen, pair.rejected)
        ]
    else:
        conversations = [each.messages for each in read_conversations(run.data)]
        examples = len(conversations)
    encoded = [tokens(tokenizer, conversation) for conversation in conversations]
    whole = sum(min(len(each["input_ids"]), run.context) for each in encoded)
    learned = sum(sum(id >= 0 for id in each["labels"][: run.context]) for each in encoded)
    longer = sum(len(each["input_ids"]) > run.context for each in encoded)
    steps = math.ceil(math.ceil(examples / run.batch) * run.epochs)
    flops, peak = flops_per_token(model, run.context), product_rate()
    # A second model, or the first without its adapter, says how likely the answers were before.
    work = whole * run.epochs * flops * (4 / 3 if isinstance(run, DpoRun) else 1)
    memory = 4 * count + (STATE_BYTES - 4) * trained
    if isinstance(run, DpoRun) and adapter is None:
        memory += 4 * count
    return [
        ("parameters", f"{count:,}, of which {trained:,} are trained" if adapter else f"{count:,}"),
        ("examples", f"{examples:,}" + (f", {longer:,} answers cut" if longer else "")),
        ("tokens", f"{whole:,} an epoch, of which {learned:,} are learned"),
        ("steps", f"{steps:,}, each of {run.batch} examples"),
        ("rate", f"peak {run.peak:g}, warmup {run.warmup:,}, then {run.decay}"),
        ("memory", f"about {memory / 1e9:.2g} GB and what the activations take"),
        (
            "time",
            f"about {duration(work / (peak * USUAL))} (products reach {peak / 1e9:.3g} GFLOP/s "
            f"here, training about {USUAL:.0%} of it)",
        ),
    ]
