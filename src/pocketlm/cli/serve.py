"""`pocketlm serve`: models over HTTP."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlm.cli import options
from pocketlm.errors import ParameterError

if TYPE_CHECKING:
    from pocketlm.serve.settings import Adapted


class EmbeddingKind(StrEnum):
    """What can embed texts, beside the models themselves."""

    WORDLLAMA = "wordllama"


def serve(
    model: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="Models to keep loaded, as for `pocketlm run`; the first one answers where a"
            " request names none. Others on this machine are loaded when they are asked for.",
            autocompletion=options.models,
        ),
    ] = None,
    host: options.Host = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Port; 0: any.")] = 8000,
    api_key: options.ApiKey = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen on other addresses without a key.")
    ] = False,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Let that site's pages use the server; repeatable."),
    ] = None,
    allow_host: options.AllowHost = None,
    parallel: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="Answers at the same time, each model.")
    ] = 4,
    queue: Annotated[
        int, typer.Option(metavar="N", min=0, help="Answers that may wait; more get status 429.")
    ] = 64,
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="For all loaded models (default: 3/4 of the machine's)."),
    ] = None,
    idle: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, help="Unload a model that nobody used for so long."),
    ] = 1800.0,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="Longest time for one request.")
    ] = 600.0,
    search: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="What the page may search: of docs, wiki and web, with commas (nothing).",
        ),
    ] = None,
    searxng: options.Searxng = None,
    tools: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Tools that the page and requests may have called here, with commas: calculator,"
            " dates, files, search, web, python, MCP servers and plugins by name, or all (none).",
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOOL",
            help="A tool with effects (run_python, search_web, …) that whoever uses the server may"
            " have called; repeatable. Others with effects are left out.",
        ),
    ] = None,
    folder: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="A folder that files may be read in; repeatable."),
    ] = None,
    embeddings: Annotated[
        EmbeddingKind | None,
        typer.Option(
            "--embeddings", help="Embed texts by this model where a request names it, or none."
        ),
    ] = None,
    threads: options.Threads = None,
    context: options.Context = None,
    cache_type: options.CacheType = options.CacheKind.Q8,
    quantize: options.Quantize = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(
            "--lora",
            metavar="NAME=PATH[:SCALE]",
            help="Serve the first model under another NAME with a LoRA adapter (peft's folder or a"
            " GGUF file), times SCALE; repeatable, also for the sum of several in one NAME.",
        ),
    ] = None,
    no_prefix_cache: options.NoPrefixCache = False,
    offline: options.Offline = False,
) -> None:
    """Serve a page to talk to, and models to programs.

    The page is at http://127.0.0.1:8000. Programs speak OpenAI's, Anthropic's or Ollama's API;
    point them at http://127.0.0.1:8000/v1 (OpenAI) or http://127.0.0.1:8000 (the others). Only
    this machine reaches the server unless --host says otherwise, which takes an --api-key.
    SIGTERM or Ctrl-C ends it.

    \b
    Examples:
      pocketlm serve
      pocketlm serve phi3 --parallel 8
      pocketlm serve --search docs,wiki --tools calculator,dates
      pocketlm serve phi3 --lora czech=czech-adapter --lora brief=tone.gguf:0.5
      POCKETLM_API_KEY=secret pocketlm serve --host 0.0.0.0
      curl http://127.0.0.1:8000/v1/models
    """
    from pocketlm.assistant.sources import named
    from pocketlm.cli.output import Download, Status
    from pocketlm.network import is_loopback
    from pocketlm.serve.settings import Settings
    from pocketlm.store import DEFAULT_MODEL, Store

    if not is_loopback(host) and not api_key and not insecure:
        raise ParameterError(
            f"others could reach {host} and use the server: give --api-key, or say --insecure"
        )
    if (allow or folder) and not tools:
        raise ParameterError("--allow and --folder go with --tools")
    with Download() as progress:
        store = Store()
        models = {
            options.called(name): store.resolve(name, progress=progress).absolute()
            for name in model or [DEFAULT_MODEL]
        }
    more = {} if memory is None else {"memory": options.bytes_of(memory)}
    settings = Settings(
        host=host,
        port=port,
        api_key=api_key or None,
        origins=frozenset(origin.rstrip("/").lower() for origin in allow_origin or ()),
        hosts=frozenset(allow_host or ()),
        models=models,
        adapted=_adapted(lora, list(models)),
        load={
            "threads": threads,
            "context": context,
            "cache_type": cache_type.value,
            "quantize": None if quantize is None else quantize.value,
            "prefix_cache": not no_prefix_cache,
        },
        wordllama=embeddings is not None,
        search=[] if search is None else named(search),
        searxng=searxng,
        tools=[name.strip() for name in (tools or "").split(",") if name.strip()],
        folders=folder or [],
        allowed=frozenset(allow or ()),
        parallel=parallel,
        queue=queue,
        idle=idle,
        timeout=timeout,
        **more,
    )
    from pocketlm.serve.assistant import open_assistant
    from pocketlm.serve.run import run

    def ready(url: str) -> None:
        Status().note(f"listening on {url}; Ctrl-C ends")

    with open_assistant(settings, store.home, Status().note) as assistant:
        run(settings, store.home, ready, assistant)


def _adapted(given: list[str] | None, models: list[str]) -> "dict[str, Adapted]":
    """The first model by the names that it has with adapters."""
    from pocketlm.serve.settings import Adapted

    loras: dict[str, list[tuple[Path, float]]] = {}
    for text in given or ():
        name, _, adapter = text.partition("=")
        if not name or not adapter:
            raise ParameterError(f"--lora is {text!r}; write it as NAME=PATH or NAME=PATH:SCALE")
        if name in models:
            raise ParameterError(f"--lora {text}: {name!r} is a model's own name; choose another")
        (lora,) = options.loras([adapter])
        if not lora[0].exists():
            raise ParameterError(f"--lora {text}: there is no {lora[0]}")
        loras.setdefault(name, []).append(lora)
    return {name: Adapted(models[0], its) for name, its in loras.items()}
