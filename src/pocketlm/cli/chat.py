"""`pocketlm chat`: a conversation."""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlm.cli import looking, options, tongue, tools
from pocketlm.errors import HistoryError

if TYPE_CHECKING:
    from pocketlm.chat.history import History


def chat(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="As for `pocketlm run`; the default model where none is named.",
            autocompletion=options.models,
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", "-p", metavar="TEXT", help="Answer this once and exit."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--continue", "-c", help="Go on with the last conversation.")
    ] = False,
    list_only: Annotated[
        bool,
        typer.Option("--list", help="List conversations; MODEL is then what to search them for."),
    ] = False,
    system: options.System = None,
    search: looking.Wanted = None,
    use: tools.Wanted = None,
    allow: tools.Allowed = None,
    folder: tools.Folders = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    repetition_penalty: options.RepetitionPenalty = None,
    presence_penalty: options.PresencePenalty = None,
    frequency_penalty: options.FrequencyPenalty = None,
    seed: options.Seed = None,
    max_tokens: options.MaxTokens = None,
    threads: options.Threads = None,
    context: options.Context = None,
    cache_type: options.CacheType = options.CacheKind.Q8,
    quantize: options.Quantize = None,
    lora: options.Lora = None,
    language: tongue.Wanted = None,
    no_prefix_cache: options.NoPrefixCache = False,
    offline: options.Offline = False,
) -> None:
    """Hold a conversation with a model; /help inside lists what can be done.

    Without a terminal, prompts are read from standard input, a line each; with nothing there, one
    sample question is answered.

    \b
    Examples:
      pocketlm chat
      pocketlm chat phi3 --system "Answer in one sentence."
      pocketlm chat -c
      pocketlm chat --list "sky blue"
      pocketlm chat --prompt "Why is the sky blue?"
      pocketlm chat --search docs,wiki
      pocketlm chat --tools calculator,dates
      pocketlm chat phi3 --lora czech-adapter
      pocketlm chat --language auto
      pocketlm chat --tools files,python --folder ~/notes --allow run_python
    """
    from pocketlm.chat.history import History
    from pocketlm.store import DEFAULT_MODEL, Store

    store = Store()
    looked = looking.Looking(search, store.home)
    with History(store.home / "history.db") as history:
        if list_only:
            _list(history, model)
            return
        last = history.list(limit=1)[0] if resume and history.last() is not None else None
        if resume and last is None:
            raise HistoryError("there is no conversation to go on with")
        preset = options.preset_of(model)
        if preset is not None:
            model, system = preset.model, preset.system if system is None else system
        name = model or (last.model if last else DEFAULT_MODEL)
        if store.catalogue.get(name) is None and Path(name).exists():
            name = str(Path(name).absolute())  # so that -c finds it from any folder
        sampling = options.sampling(
            preset,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
            seed=seed,
            max_tokens=max_tokens,
        )
        from pocketlm.cli import listen
        from pocketlm.cli.answer import loaded
        from pocketlm.cli.talk import Talk

        with (
            tools.opened(use, folder, allow) as used,
            loaded(
                name,
                threads=threads,
                context=context,
                cache_type=cache_type,
                quantize=quantize,
                prefix_cache=not no_prefix_cache,
                lora=options.loras(lora),
            ) as opened,
        ):
            speaks = tongue.of(opened, name, language, store.home, options.loras(lora))
            talk = Talk(opened, name, history, sampling, used, looked, speaks)
            if last is not None:
                talk.resume(last.id)
            if system is not None:
                talk.conversation.set_system(system)
            if prompt is not None:
                listen.once(talk, prompt)
            elif sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
                listen.terminal(talk, store.home)
            else:
                listen.lines(talk)


def _list(history: "History", query: str | None) -> None:
    from pocketlm.cli.output import table

    found = history.list(limit=50) if query is None else history.search(query, limit=50)
    if not found:
        print("no conversations" if query is None else f"no conversation holds {query!r}")
        return
    rows = []
    for entry in found:
        when = datetime.fromtimestamp(entry.updated).strftime("%Y-%m-%d %H:%M")
        turns = f"{entry.turns} turn{'s' if entry.turns != 1 else ''}"
        words = " ".join((entry.excerpt or "").split())
        rows.append((str(entry.id), when, turns, entry.model, entry.title, words))
    print(table(rows))
