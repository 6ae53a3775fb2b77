"""What the findings come to, in sentences. It knows findings; it knows no markup.

A sentence says better or worse only where two arms are told apart, whichever way that is.
"""

from __future__ import annotations

from collections.abc import Sequence

from pocketlm.recipe.demo.configuration import Demonstration
from pocketlm.recipe.demo.findings import MEASURES, PAIRS, Comparison, Findings, Measure
from pocketlm.recipe.demo.intervals import Found
from pocketlm.recipe.demo.layout import ARMS, TITLES
from pocketlm.recipe.demo.training import Plan, parameters

#: Operations that DataDecide's smallest decisive experiments take (0.01 % of 1B x 100B tokens).
_DECISIVE = 6e16


def headlines(found: Findings) -> list[str]:
    """What was found, the most important first."""
    said = [_compared(found, before, after) for before, after in PAIRS]
    if len(found.seeds) == 1:
        said.insert(
            0,
            "There is one seed, so that nothing can be told apart: this run shows that everything "
            "works, and no more.",
        )
        return said
    return [*said, _raw_text(found), _synthetic(found), *_chance(found)]


def _compared(found: Findings, before: str, after: str) -> str:
    of = [
        c for c in found.comparisons if (c.before, c.after) == (before, after) and c.measure.counts
    ]
    parts = []
    for verdict in ("better", "worse"):
        these = [f"{c.measure.title.lower()} ({signed(c)})" for c in of if c.verdict == verdict]
        if these:
            parts.append(f"{verdict} on {_listed(these)}")
    alike = [c.measure.title.lower() for c in of if c.verdict == "not told apart"]
    if len(alike) == len(of):
        parts.append("not told apart by any measure")
    elif alike:
        parts.append(f"not told apart on {_listed(alike)}")
    return f"The arm {TITLES[after]!r} beside the arm {TITLES[before]!r}: {'; '.join(parts)}."


def _raw_text(found: Findings) -> str:
    """The check on what text like one's own is worth."""
    verdict = found.comparison("text-raw", "raw", "filtered").verdict
    if verdict == "worse":
        return (
            "On held-back raw text the raw arm wins, as is to be expected: each arm is best at "
            "text like its own. What an arm gains on such text is in part this, and no more."
        )
    if verdict == "better":
        return (
            "The filtered arm is better even on held-back raw text: it gains more than by reading "
            "what it is asked about."
        )
    return "On held-back raw text the raw and the filtered arm are not told apart."


def _synthetic(found: Findings) -> str:
    of = {
        verdict: [
            c.measure.title.lower()
            for c in found.comparisons
            if (c.before, c.after) == ("filtered", "mixed")
            and c.measure.counts
            and c.verdict == verdict
        ]
        for verdict in ("better", "worse")
    }
    if of["worse"] and of["better"]:
        return (
            f"Synthetic text lost on {_listed(of['worse'])} and gained on {_listed(of['better'])}."
        )
    if of["worse"]:
        return f"Synthetic text lost: worse on {_listed(of['worse'])}, and better on nothing."
    if of["better"]:
        return f"Synthetic text gained on {_listed(of['better'])}, and lost on nothing measured."
    return (
        "Whether synthetic text helps, this run cannot tell: with it and without it the filtered "
        "arms are alike within their intervals."
    )


def _chance(found: Findings) -> list[str]:
    """Which measures of items no arm is better at than guessing."""
    said = []
    for measure in MEASURES:
        if measure.chance is None or not measure.counts:
            continue
        above = [arm for arm in ARMS if found.levels[measure.key][arm].by_items[0] > measure.chance]
        if not above:
            said.append(
                f"{measure.title}: no arm is better than guessing "
                f"({number(measure, measure.chance)} {measure.unit}), so that its differences "
                "mean little."
            )
    return said


def limits(setting: Demonstration, decided: Plan, found: Findings) -> list[str]:
    """What this proves and what it does not."""
    runs = len(ARMS) * len(setting.training.seeds)
    count = parameters(setting)
    operations = 6 * count * decided.tokens * runs
    share = operations / _DECISIVE
    told = len([each for each in found.comparisons if each.measure.counts])
    return [
        "It shows what the choice of text does to this model, at this size, on this corpus: arms "
        "differ in what they read and in nothing else. Model, number of tokens and steps, "
        "tokenizer, initial weights (by the seed), and the order of places in the text are equal.",
        "It does not show what a model of a useful size would gain. All runs together are about "
        f"{operations:.2g} operations, {100 * share:.2g} % of the 6e16 from which on "
        "small experiments were found to predict larger ones (DataDecide, arXiv 2504.11393). The "
        "measure of four options is theirs, as it moves where accuracy is still chance; that it "
        "predicts anything from here is not shown.",
        f"A model of {count:,} parameters that has read {decided.tokens:,} tokens knows words and "
        "their order, and little of what they mean. Minimal pairs and options ask for form more "
        "than for knowledge.",
        "The held-back filtered text was chosen by the same rules as the filtered arms' text: an "
        "arm that read such text is at home there. That is why raw text is beside it. The items "
        "were made of all held-back text, filtered or not.",
        "The corpus is what is installed on one machine: documentation and pages about software. "
        "The synthetic text was written by programs from templates, not by a larger model: what "
        "it says of synthetic text, it says of this one.",
        "Two arms are told apart where two intervals of 95 % both leave 0 out: Student's t over "
        "the seeds, which covers chance in training, and a bootstrap over the items, which "
        f"covers the choice of items. There are {told} such comparisons: with a single interval "
        "one of twenty would be told apart by chance.",
    ]


def number(measure: Measure, value: float) -> str:
    """A level of a measure, without its unit."""
    return f"{value * measure.scale:.{measure.digits}f}"


def signed(comparison: Comparison) -> str:
    """A difference with its sign and unit."""
    measure = comparison.measure
    unit = "points" if measure.unit.startswith("%") else measure.unit
    return f"{comparison.found.value * measure.scale:+.{measure.digits}f} {unit}"


def ends(measure: Measure, interval: tuple[float, float], sign: str = "") -> str:
    """An interval; nothing where there is none."""
    low, high = (f"{end * measure.scale:{sign}.{measure.digits}f}" for end in interval)
    return "" if low == "nan" or low == "+nan" else f"{low} to {high}"


def spread(found: Found, measure: Measure) -> str:
    """The values of the seeds, one after another."""
    return ", ".join(number(measure, value) for value in found.of_seeds)


def _listed(words: Sequence[str]) -> str:
    """Words as a sentence has them."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
