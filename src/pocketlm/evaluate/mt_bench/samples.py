"""What MT-bench found, in the harness's form: a sample a question, and the means of all.

It knows questions and what is kept of answers and judgements; it asks nobody.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pocketlm.evaluate.mt_bench.answers import FURTHER, MOST_TOKENS, TEMPERATURES
from pocketlm.evaluate.mt_bench.judge import Judge
from pocketlm.evaluate.mt_bench.prompts import Answers, Prompts
from pocketlm.evaluate.mt_bench.questions import Question, digest
from pocketlm.evaluate.radar import radar
from pocketlm.evaluate.results import Sample
from pocketlm.formats.output import new_file
from pocketlm.ledger import Ledger

#: Changes when results of two versions must not be compared.
VERSION = 1
TASK, PAIRS = "mt_bench", "mt_bench_pairs"


def key(judge: Judge, prompts: Prompts, question: Question, turn: int) -> list[Any]:
    """Of a judgement in the ledger: whoever judges in other words judges anew."""
    has_reference = question.reference is not None
    return ["judge", judge.url, judge.model, prompts.source, has_reference, question.number, turn]


def sample(question: Question, ledger: Ledger, judge: Judge, prompts: Prompts) -> dict[str, Any]:
    """A question in the harness's form; `rating` is the mean of both turns' ratings."""
    kept = ledger[["answer", question.number]]
    judged = [ledger[key(judge, prompts, question, turn)] for turn in (0, 1)]
    ratings = [each["rating"] for each in judged]
    given = [each for each in ratings if each is not None]
    reasons = [f"turn {turn}: {each['text']}" for turn, each in enumerate(judged, 1)]
    return {
        "doc_id": question.number,
        "doc": {"category": question.category, "turns": list(question.turns)},
        "target": None if question.reference is None else list(question.reference),
        "arguments": _arguments(question),
        "resps": [[turn] for turn in kept["turns"]],
        "filtered_resps": kept["turns"],
        "filter": "none",
        "metrics": ["rating", "rating_1", "rating_2"],
        "rating": statistics.fmean(given) if len(given) == 2 else None,
        "rating_1": ratings[0],
        "rating_2": ratings[1],
        "why": "\n\n".join(reasons),
        "tokens": kept["tokens"],
        "cut": kept["cut"],
        "seconds": kept["seconds"],
    }


def pair_sample(
    question: Question,
    theirs: Answers,
    ledger: Ledger,
    judge: Judge,
    prompts: Prompts,
    against: str,
) -> dict[str, Any]:
    """A pair in the harness's form; `win` is 1, 0.5 or 0 a turn, the mean of both."""
    kept = ledger[["answer", question.number]]
    wins, agreed, reasons = [], [], []
    for turn in (0, 1):
        pair = key(judge, prompts, question, turn)
        first, second = (ledger[[*pair, order, list(theirs)]] for order in ("first", "second"))
        # Ours is A in the first order, B in the second.
        ours = (first["winner"] == "a", second["winner"] == "b")
        other = (first["winner"] == "b", second["winner"] == "a")
        wins.append(1.0 if all(ours) else 0.0 if all(other) else 0.5)
        agreed.append(not (any(ours) and any(other)))
        reasons += [f"turn {turn + 1}, ours first: {first['text']}"]
        reasons += [f"turn {turn + 1}, ours second: {second['text']}"]
    return {
        "doc_id": question.number,
        "doc": {"category": question.category, "turns": list(question.turns), "against": against},
        "target": list(theirs),
        "arguments": _arguments(question),
        "resps": [[turn] for turn in kept["turns"]],
        "filtered_resps": kept["turns"],
        "filter": "none",
        "metrics": ["win", "agreed"],
        "win": statistics.fmean(wins),
        "win_1": wins[0],
        "win_2": wins[1],
        "agreed": statistics.fmean(agreed),
        "why": "\n\n".join(reasons),
    }


def _arguments(question: Question) -> dict[str, Any]:
    """Both turns as the harness writes requests, with what was sampled by."""
    temperature = TEMPERATURES.get(question.category, FURTHER)
    return {
        f"gen_args_{turn}": {"arg_0": said, "arg_1": {"temperature": temperature}}
        for turn, said in enumerate(question.turns)
    }


def totals(
    samples: Mapping[str, Sequence[Sample]],
    questions: Sequence[Question],
    judge: Judge,
    prompts: Prompts,
    against: Path | None,
) -> dict[str, Any]:
    """The harness's dictionary."""
    found: dict[str, Any] = {}
    configs: dict[str, Any] = {}
    for task, items in samples.items():
        figures: dict[str, Any] = {"alias": task}
        for metric in items[0]["metrics"]:
            values = [float(each[metric]) for each in items if each[metric] is not None]
            if values:
                error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else "N/A"
                figures[f"{metric},none"] = statistics.fmean(values)
                figures[f"{metric}_stderr,none"] = error
        found[task] = figures
        configs[task] = {
            "task": task,
            "description": "two turns each, judged by a model",
            "output_type": "generate_until",
            "num_fewshot": 0,
            "generation_kwargs": {"max_gen_toks": MOST_TOKENS, "temperature": TEMPERATURES},
            "metadata": {
                "version": VERSION,
                "judge": f"{judge.model} at {judge.url}",
                "prompts": prompts.source,
                "questions": digest(questions),
                "references": sum(each.reference is not None for each in questions),
                "unrated": sum(each[items[0]["metrics"][0]] is None for each in items),
            },
        }
    if against is not None:
        configs[PAIRS]["metadata"]["against"] = str(against)
    counts = {"original": len(questions), "effective": len(questions)}
    return {
        "results": found,
        "configs": configs,
        "versions": dict.fromkeys(found, VERSION),
        "n-shot": dict.fromkeys(found, 0),
        "n-samples": dict.fromkeys(found, counts),
    }


def draw(path: Path, model: str, samples: Sequence[Sample]) -> None:
    """The ratings by category, where there are enough categories for a picture."""
    ratings: dict[str, list[float]] = {}
    for each in samples:
        if each["rating"] is not None:
            ratings.setdefault(each["doc"]["category"], []).append(each["rating"])
    if len(ratings) < 3:
        return
    means = {category: statistics.fmean(given) for category, given in ratings.items()}
    with new_file(path) as file:
        drawn = radar({model: means}, list(means), most=10, title="MT-bench by category")
        file.write(drawn.encode(errors="backslashreplace"))
