"""All probes of a model, in all modes: asked, judged, counted. What is done is kept as it is done.

Several answers are written at once, as the engine batches them; none differs for it. It knows
probes, modes and the form of results; it does not know commands or pages.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pocketlm.api import Model
from pocketlm.assistant import sandbox
from pocketlm.chat.prompt import Message
from pocketlm.errors import ParameterError
from pocketlm.evaluate.about import identity
from pocketlm.evaluate.probes.all import PROBES
from pocketlm.evaluate.probes.modes import MODES, ask
from pocketlm.evaluate.probes.probe import COUNT, Mode, Probe, Variant
from pocketlm.evaluate.results import Sample
from pocketlm.evaluate.several import finish
from pocketlm.ledger import Ledger
from pocketlm.progress import Progress

#: Changes when questions or judges do: results of two versions are not compared.
VERSION = 1
#: Answers at once. More of them share a step of the engine, and each wants memory for its cache.
AT_ONCE = 8
LEDGER = "probes.jsonl"

#: A probe, one of its variants, and how that is asked.
_Item = tuple[Probe, Variant, Mode]


def measure(
    model: Model,
    out: Path,
    *,
    limit: int | None = None,
    modes: Sequence[str] = MODES,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
    probes: Sequence[Probe] = PROBES,
) -> tuple[dict[str, Any], dict[str, list[Sample]]]:
    """Ask `limit` variants of each probe (None: 20) in each mode. Returns results and samples.

    What is finished is kept in `out`, and not asked again there. `tell` gets a line of progress
    after each answer. Raises ParameterError for an unknown mode, a limit below 1 or another run's
    folder, and SandboxError where programs cannot be run: none is judged by its looks.
    """
    wanted = _modes(modes)
    count = COUNT if limit is None else limit
    if count < 1:
        raise ParameterError(f"the limit is {count}; at least 1 variant of each probe is asked")
    sandbox.check()
    drawn = [(probe, variant) for probe in probes for variant in probe.variants(seed, count)]
    # Variant by variant, so that the time of what is done tells of what is not.
    items = [(*each, mode) for each in drawn for mode in wanted]
    items.sort(key=lambda item: item[1].number)
    work = {
        "suite": "probes",
        "version": VERSION,
        **identity(model),
        "seed": seed,
    }
    with Ledger(out / LEDGER, work) as ledger:
        _finish(model, [item for item in items if _key(item) not in ledger], ledger, items, tell)
        samples: dict[str, list[Sample]] = {
            _task(probe, mode): [
                ledger[_key(item)] for item in items if item[0] is probe and item[2] == mode
            ]
            for probe in probes
            for mode in wanted
        }
    return _results(probes, wanted, samples, seed), samples


def _modes(modes: Sequence[str]) -> list[Mode]:
    for name in modes:
        if name not in MODES:
            raise ParameterError(f"there is no mode {name!r}; there are {', '.join(MODES)}")
    if not modes:
        raise ParameterError(f"name one mode at least: {', '.join(MODES)}")
    return [mode for mode in MODES if mode in modes]


def _task(probe: Probe, mode: Mode) -> str:
    return f"probe_{probe.name}_{mode}"


def _key(item: _Item) -> list[Any]:
    probe, variant, mode = item
    return [probe.name, mode, variant.number]


def _finish(
    model: Model,
    missing: Sequence[_Item],
    ledger: Ledger,
    items: Sequence[_Item],
    tell: Callable[[str], None],
) -> None:
    """Ask what is missing; on an error or Ctrl-C, answers under way are let go of."""

    def keep(item: _Item, sample: dict[str, Any]) -> None:
        ledger[_key(item)] = sample

    progress = Progress(tell, "probes", len(items), len(items) - len(missing))
    finish(missing, partial(_sample, model), keep, at_once=AT_ONCE, progress=progress)


def _sample(model: Model, item: _Item, stop: threading.Event) -> dict[str, Any]:
    """Ask and judge one item. Raises StoppedError once `stop` is set."""
    probe, variant, mode = item
    started = time.monotonic()
    answer = ask(model, probe, variant, mode, stop)
    verdict = probe.judge(variant, answer.judged)
    question, asked = _text(variant.messages), _text(answer.asked)
    return {
        "doc_id": variant.number,
        "doc": {"question": question, "facts": variant.facts},
        "target": variant.target,
        "arguments": {"gen_args_0": {"arg_0": asked, "arg_1": answer.options}},
        "resps": [[answer.said]],
        "filtered_resps": [answer.judged],
        "filter": "none",
        "metrics": ["passed", "score"],
        "passed": int(verdict.passed),
        "score": verdict.score,
        "why": verdict.why,
        "steps": answer.steps,
        "tokens": answer.tokens,
        "cut": answer.cut,
        "seconds": round(time.monotonic() - started, 2),
    }


def _text(messages: Sequence[Message]) -> str:
    return "\n\n".join(str(message["content"]) for message in messages)


def _results(
    probes: Sequence[Probe],
    modes: Sequence[Mode],
    samples: Mapping[str, Sequence[Sample]],
    seed: int,
) -> dict[str, Any]:
    """The harness's dictionary."""
    results, configs = {}, {}
    for probe in probes:
        for mode in modes:
            task = _task(probe, mode)
            figures: dict[str, Any] = {"alias": task}
            for metric in ("passed", "score"):
                values = [float(sample[metric]) for sample in samples[task]]
                figures[f"{metric},none"] = statistics.fmean(values)
                figures[f"{metric}_stderr,none"] = _standard_error(values)
            results[task] = figures
            configs[task] = {
                "task": task,
                "description": probe.about,
                "output_type": "generate_until",
                "num_fewshot": 0,
                "generation_kwargs": {"max_gen_toks": probe.most_tokens, "temperature": 0.0},
                "metadata": {
                    "version": VERSION,
                    "probe": probe.name,
                    "mode": mode,
                    "number": probe.number,
                    "seen": probe.seen,
                    "seed": seed,
                },
            }
    return {
        "results": results,
        "configs": configs,
        "versions": dict.fromkeys(results, VERSION),
        "n-shot": dict.fromkeys(results, 0),
        "n-samples": {
            task: {"original": len(samples[task]), "effective": len(samples[task])}
            for task in results
        },
    }


def _standard_error(values: Sequence[float]) -> float | str:
    """Of a mean; as the harness says it where one value tells nothing."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else "N/A"
