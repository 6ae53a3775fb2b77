"""`pocketlm bench`: how fast a model runs here."""

import json as json_format
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlm.cli import options

if TYPE_CHECKING:
    from pocketlm.engine.bench import Bench


def bench(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="As for `pocketlm run`; the default model where none is named.",
            autocompletion=options.models,
        ),
    ] = None,
    pp: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            help="Process prompts of N tokens; repeatable. Without it: 128, 512 and 2048, as far"
            " as the context allows.",
        ),
    ] = None,
    tg: Annotated[int, typer.Option(metavar="N", help="Generate N tokens.")] = 128,
    depth: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            help="Generate after N tokens; repeatable. Without it: 0, 1024 and 3500, as far as"
            " the context allows.",
        ),
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            help="Threads (default: physical cores). Repeated, everything is measured for each"
            " number in turn.",
        ),
    ] = None,
    cache_type: options.CacheType = options.CacheKind.Q8,
    lora: options.Lora = None,
    repeat: Annotated[
        int, typer.Option(metavar="N", help="Do everything N times; medians are shown.")
    ] = 3,
    json: options.Json = False,
    offline: options.Offline = False,
) -> None:
    """Measure how fast a model runs on this machine, and how near to the machine's limit.

    The limit is measured between the runs: for generation the rate at which the same threads read
    the model's weights, for prompts the rate of 8-bit multiply-adds. Ctrl-C prints what was
    measured so far. With --json each number of threads gets one line, an object.

    \b
    Examples:
      pocketlm bench
      pocketlm bench phi3 --threads 1 --threads 2
      pocketlm bench smollm2 --pp 512 --tg 64 --depth 0 --depth 4000 --repeat 5
      pocketlm bench smollm2 --json | tail -n 1 | jq .rows
    """
    from pocketlm.cli.output import Download, Status
    from pocketlm.store import DEFAULT_MODEL, Store

    with Download() as download:
        path = Store().resolve(model or DEFAULT_MODEL, progress=download)
    from pocketlm.api import load
    from pocketlm.engine.bench import Bench

    for turn, count in enumerate(threads or (None,)):
        interrupted = False
        with Status() as status:
            measured = Bench(pp, tg, depth, repeat, status.show)
            opening = partial(
                load,
                path,
                threads=count,
                cache_type=cache_type.value,
                lora=options.loras(lora),
            )
            try:
                measured.run(opening)
            except KeyboardInterrupt:
                interrupted = True
        text = json_format.dumps(measured.as_json()) if json else _text(measured)
        print(text if json or not turn else f"\n{text}", flush=True)
        if interrupted:
            raise typer.Exit(130)


def _text(measured: "Bench") -> str:
    from pocketlm.cli.output import table

    rows = [("work", "depth", "tokens/s", "spread", "of the limit")]
    for row in (row.as_json() for row in measured.rows):
        rate, spread, share = row["tokens_per_s"], f"{row['spread']:.0%}", f"{row['of_limit']:.0%}"
        rows.append((row["work"], f"{row['depth']:,}", f"{rate:,.1f}", spread, share))
    about = measured.as_json()
    limits = about["limits"]
    facts = [
        ("threads", about["threads"], ""),
        ("reads", limits["read_gb_s"], " GB/s"),
        ("multiplies", limits["int8_gmac_s"], " billion 8-bit multiply-adds a second"),
        ("load", about["load_s"], " s"),
        ("first token", about["first_token_s"], " s"),
        ("peak memory", about["peak_rss_mib"], " MiB"),
    ]
    known = [(name, f"{value:,.4g}{unit}") for name, value, unit in facts if value is not None]
    return f"{table(rows)}\n\n{table(known)}"
