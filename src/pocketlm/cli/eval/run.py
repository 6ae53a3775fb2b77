"""`pocketlm eval MODEL`: measure a model by benchmarks, probes or a judge."""

import json as json_format
import re
import sys
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from pocketlm.cli import options
from pocketlm.errors import ParameterError

#: Measures a model, results in a folder: gives the harness's dictionary, and each task's samples.
_Measure = Callable[..., tuple[dict[str, Any], dict[str, list[Any]]]]
#: Of these options, those that a suite has; all have the others.
_OWN = {
    "tasks": {"shots", "data", "seed", "chat"},
    "phi3-report": {"shots", "data", "seed", "chat"},
    "probes": {"seed", "modes"},
    "mt-bench": {"data", "judge", "judge_model", "against"},
}


class Suite(StrEnum):
    """Measurements that have a name."""

    PHI3_REPORT = "phi3-report"
    PROBES = "probes"
    MT_BENCH = "mt-bench"


def run(
    model: options.Model,
    tasks: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="Tasks or groups of lm-evaluation-harness (mmlu, gsm8k, …), tasks of ours"
            " (phi3_mmlu, …), or YAML files of tasks.",
        ),
    ] = None,
    suite: Annotated[
        Suite | None,
        typer.Option(
            help="The Phi-3 report's benchmarks, asked its way; the ten probes; or MT-bench."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", help="Measure the first N items of each task (or probe)."),
    ] = None,
    shots: Annotated[
        int | None,
        typer.Option(metavar="K", help="Examples before each item (default: the task's own)."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where results go (default: eval-MODEL-SUITE, or -TASKS)."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Local files of the items, OWNER__NAME/CONFIG/SPLIT.jsonl; without it they come"
            " from the hub or its cache.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Draws examples and variants; the same seed, the same."),
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Put prompts in the model's chat template.")
    ] = False,
    modes: Annotated[
        str | None,
        typer.Option(
            metavar="MODE,…",
            help="How probes are asked: plain, constrained, tools (default: all three).",
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The judge of MT-bench: an OpenAI-compatible server."),
    ] = None,
    judge_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The judge's model there.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="MT-bench's results of another model: the judge also compares the two, pair by"
            " pair, in both orders.",
        ),
    ] = None,
    threads: options.Threads = None,
    context: options.Context = None,
    cache_type: options.CacheType = options.CacheKind.Q8,
    lora: options.Lora = None,
    json: options.Json = False,
    offline: options.Offline = False,
) -> None:
    """Measure how good a model is, and keep every answer.

    Results go to a folder, in the form of lm-evaluation-harness: `pocketlm eval report` makes a
    page of them, `pocketlm eval compare` says whether one model is worse than another. Each answer
    is kept as it is made: after Ctrl-C the same command goes on. With --limit raised it goes on,
    too. The judge's key comes from the environment (POCKETLM_JUDGE_KEY).

    \b
    Examples:
      pocketlm eval smollm2 --tasks arc_easy,hellaswag --limit 100
      pocketlm eval smollm2 --tasks mmlu --shots 5 --data ./benchmarks --offline
      pocketlm eval smollm2 --suite phi3-report --limit 50 --out report
      pocketlm eval smollm2 --suite probes --limit 20 --modes plain,tools
      pocketlm eval smollm2 --suite mt-bench --judge http://localhost:8000/v1 --judge-model big
      pocketlm eval smollm2 --tasks ./mine.yaml --json
      pocketlm eval smollm2 --tasks arc_easy --lora ./tuned
    """
    import os

    from pocketlm.cli.answer import loaded
    from pocketlm.cli.output import Status
    from pocketlm.network import offline_by_environment

    own = {
        "shots": shots,
        "data": data,
        "seed": seed,
        "chat": chat or None,
        "modes": modes,
        "judge": judge,
        "judge_model": judge_model,
        "against": against,
    }
    name = _suite(tasks, suite)
    _check(name, own)
    if offline_by_environment():
        os.environ["HF_HUB_OFFLINE"] = "1"  # before anything of the hub's is imported
    names = [name] if tasks is None else _names(tasks)
    folder = out or Path(_folder(model, lora or [], names))
    if name == Suite.PROBES:
        measure = _probes(modes, seed)
    elif name == Suite.MT_BENCH:
        measure = _mt_bench(judge, judge_model, data, against)
    else:
        measure = _harness(names, shots, seed, data, chat)
    with (
        loaded(
            model,
            threads=threads,
            context=context,
            cache_type=cache_type.value,
            lora=options.loras(lora),
        ) as opened,
        Status() as status,
    ):
        from pocketlm.evaluate.about import about
        from pocketlm.evaluate.results import RESULTS, write

        began = time.monotonic()
        try:
            results, samples = measure(opened, folder, limit=limit, tell=status.show)
        except KeyboardInterrupt:
            status.note(f"interrupted; what is done is in {folder}, and the same command goes on")
            raise typer.Exit(130) from None
        facts = about(
            opened,
            suite=name,
            name=model,
            adapters=lora or [],
            seconds=time.monotonic() - began,
            command=["pocketlm", *sys.argv[1:]],
            settings={"tasks": names, "limit": limit, **own},
        )
        write(folder, results, samples, facts)
        for task, count in results.get("truncated", {}).items():
            status.note(
                f"{task}: {count:,} texts were longer than the context of {opened.context:,} "
                "tokens and lost their beginning"
            )
    if json:
        print(json_format.dumps(json_format.loads((folder / RESULTS).read_text("utf-8"))))
        return
    from pocketlm.cli.eval.table import shown

    print(f"{shown(folder)}\n\nin {folder}; `pocketlm eval report {folder}` makes a page of it")


def _suite(tasks: str | None, suite: Suite | None) -> str:
    """The suite's name; "tasks" where tasks are named."""
    if (tasks is None) == (suite is None):
        known = ", ".join(Suite)
        raise ParameterError(f"say what to measure: --tasks NAME,… or one --suite ({known})")
    return "tasks" if suite is None else suite.value


def _check(suite: str, given: Mapping[str, object]) -> None:
    """Raise ParameterError for an option that the suite does not have."""
    for name, value in given.items():
        if value is not None and name not in _OWN[suite]:
            of = [each for each, own in _OWN.items() if name in own]
            said = " and ".join("--tasks" if each == "tasks" else f"--suite {each}" for each in of)
            option = f"--{name.replace('_', '-')}"
            raise ParameterError(f"{option} is of no use here; it belongs to {said}")


def _names(said: str) -> list[str]:
    return [name.strip() for name in said.split(",") if name.strip()]


def _folder(model: str, adapters: list[str], names: list[str]) -> str:
    """The name of a folder for what is measured: two different ones do not meet in it."""
    what = "-".join([Path(model).name, *adapters, *(Path(name).stem for name in names)])
    return re.sub(r"[^\w.]+", "-", f"eval-{what}")[:100]


def _harness(
    tasks: list[str], shots: int | None, seed: int | None, data: Path | None, chat: bool
) -> _Measure:
    from pocketlm.evaluate.harness.run import SEED, measure

    seed = SEED if seed is None else seed
    return partial(measure, tasks=tasks, shots=shots, seed=seed, data=data, chat=chat)


def _probes(modes: str | None, seed: int | None) -> _Measure:
    from pocketlm.evaluate.probes.modes import MODES
    from pocketlm.evaluate.probes.run import measure

    return partial(measure, modes=MODES if modes is None else _names(modes), seed=seed or 0)


def _mt_bench(
    url: str | None, model: str | None, data: Path | None, against: Path | None
) -> _Measure:
    if url is None:
        raise ParameterError("MT-bench needs a judge: --judge URL, an OpenAI-compatible server")
    from pocketlm.evaluate.mt_bench.judge import Judge
    from pocketlm.evaluate.mt_bench.run import measure

    return partial(measure, judge=Judge.of(url, model), data=data, against=against)
