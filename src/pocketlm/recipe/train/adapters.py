"""Low-rank adapters as training wants them: made for a model, or opened to be trained further.

It knows peft's classes and files. It knows no data and no loop.
"""

from __future__ import annotations

from pathlib import Path

import peft
import torch
import transformers

from pocketlm.errors import ModelFileError, ParameterError
from pocketlm.recipe.train.configuration import Adapter


def settings(adapter: Adapter, model: transformers.PreTrainedModel) -> peft.LoraConfig:
    """peft's configuration of an adapter. Raises ParameterError for targets that there are not."""
    matrices = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name != "lm_head"
    }
    targets = sorted(matrices) if adapter.targets is None else list(adapter.targets)
    unknown = sorted(set(targets) - matrices)
    if unknown:
        raise ParameterError(
            f"adapter.targets: the model has no {', '.join(unknown)}; it has "
            + ", ".join(sorted(matrices))
        )
    return peft.LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )


def weights(adapter: Adapter, model: transformers.PreTrainedModel) -> int:
    """How many weights an adapter of the model has."""
    targets = settings(adapter, model).target_modules or ()
    return sum(
        adapter.rank * (module.in_features + module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.rpartition(".")[2] in targets
    )


def add(model: transformers.PreTrainedModel, adapter: Adapter, seed: int) -> peft.PeftModel:
    """The model with a new adapter, which alone is trained. It begins as no change (B is 0)."""
    torch.manual_seed(seed)
    added = peft.get_peft_model(model, settings(adapter, model))
    assert isinstance(added, peft.PeftModel)
    return added


def open_further(model: transformers.PreTrainedModel, folder: Path) -> peft.PeftModel:
    """The model with the adapter in a folder, which is trained further. Raises ModelFileError."""
    if not (folder / "adapter_config.json").is_file():
        raise ModelFileError(f"{folder}: holds no adapter (no adapter_config.json)")
    try:
        return peft.PeftModel.from_pretrained(model, folder, is_trainable=True)
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelFileError(f"{folder}: is no adapter of this model: {line}") from None
