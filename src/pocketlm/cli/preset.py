"""`pocketlm preset`: a name for a model, a system prompt and a way of sampling."""

from pathlib import Path
from typing import Annotated

import typer

from pocketlm.cli import options
from pocketlm.errors import ParameterError, StoreError


def preset(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Which; without it all are listed.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Make a preset for this model; without it the one of that NAME is printed.",
            autocompletion=options.models,
        ),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Take a preset from a file.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Forget the preset.")] = False,
    system: options.System = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    repetition_penalty: options.RepetitionPenalty = None,
    presence_penalty: options.PresencePenalty = None,
    frequency_penalty: options.FrequencyPenalty = None,
    seed: options.Seed = None,
    max_tokens: options.MaxTokens = None,
    stop: options.Stop = None,
) -> None:
    """Give a model with a system prompt and a way of sampling a name of its own.

    The name then serves wherever a model's does: in `run`, `chat` and for the server's clients. A
    preset is a small text file, printed by its name, to be shared and taken with --from.

    \b
    Examples:
      pocketlm preset pirate smollm2 --system "You are a pirate." --temperature 0.7
      pocketlm run pirate "Where is the treasure?"
      pocketlm preset pirate > pirate.toml
      pocketlm preset pirate --from pirate.toml
    """
    from pocketlm.chat.presets import Preset, Presets, read
    from pocketlm.cli.output import printable, table
    from pocketlm.store import Store

    sampling = options.said(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty,
        seed=seed,
        max_tokens=max_tokens,
        stop=stop,
    )
    if sum((model is not None, source is not None, remove)) > 1:
        raise ParameterError("say one of MODEL, --from and --remove")
    if model is None and (sampling or system is not None):
        raise ParameterError("a system prompt and a way of sampling are for a preset of a MODEL")
    presets = Presets()
    if name is None:
        if source is not None or remove:
            raise ParameterError("say the NAME of the preset")
        found = [(each, presets.get(each)) for each in presets.names()]
        rows = [(n, p.model, " ".join((p.system or "").split())[:60]) for n, p in found if p]
        print(table(rows) if rows else "no preset yet")
        return
    if remove:
        presets.remove(name)
    elif source is not None or model is not None:
        store = Store(offline=True)
        if store.catalogue.get(name) is not None or store.find(name) is not None:
            raise ParameterError(f"{name} is a model's name; choose another one for the preset")
        made = read(source) if source is not None else Preset(model or "", system, sampling)
        Preset.from_toml(made.to_toml())  # as it will be read
        print(f"written to {presets.save(name, made)}")
    else:
        kept = presets.get(name)
        if kept is None:
            raise StoreError(f"there is no preset {name!r}; `pocketlm preset` lists them")
        print(printable(kept.to_toml()), end="")
