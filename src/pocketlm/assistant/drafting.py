"""A calculation for a question in words, where the model is too small to plan one by itself.

Small models know well which numbers of a question belong together and calculate badly. So they are
asked for no calculation: all sound ones over the question's numbers are written down, none that is
negative or leaves a remainder among them, and the model says by its likelihoods which one answers
the question, or that none does. Knows models and numbers; `calculate` computes what was chosen.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from fractions import Fraction

import numpy as np

from pocketlm.api import Model
from pocketlm.assistant import routing
from pocketlm.assistant.tools.expression import compute
from pocketlm.chat.prompt import Message
from pocketlm.chat.tools import Call
from pocketlm.errors import ContextError, ParameterError

#: Models of more parameters plan their own calls.
MOST_PARAMETERS = 1_000_000_000
#: Longest question that is looked at, in characters.
MOST_CHARACTERS = 400

_NONE = "none"
_NUMBER = re.compile(r"(?<![\w.,/:-])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w/:%-]|,\d|\.\d)")
#: Questions whose answer is a number.
_COUNTS = re.compile(
    r"\bhow (?:many|much|long|far|old|older|tall|taller|heavy|big|fast|wide|high|deep)\b"
    r"|\bwhat(?:'s| is| was| will be) (?:the|his|her|their|its|my) (?:total|sum|difference|average"
    r"|cost|price|amount|number|rest|area|perimeter|distance|speed|age|weight|length)\b",
    re.IGNORECASE,
)
_SYSTEM = "Write the calculation that answers the question, or none."
_EXAMPLES = (
    (
        "Sue buys 3 shirts for 20 dollars each and a hat for 15 dollars. How much does she pay?",
        "3 * 20 + 15",
    ),
    ("A crate holds 24 bottles. How many bottles are in 15 crates?", "24 * 15"),
    ("What is the capital of Spain?", _NONE),
    (
        "Ben read 34 pages in the morning and 58 in the evening. How many pages did he read?",
        "34 + 58",
    ),
    ("A school has 410 boys and 385 girls. How many children are there in all?", "410 + 385"),
    ("There were 90 birds, and 37 flew away. How many birds are left?", "90 - 37"),
    ("Write 2 sentences about the 7 dwarfs.", _NONE),
    ("144 cookies are divided equally among 12 people. How many does each get?", "144 / 12"),
    (
        "A museum owned 520 paintings and then bought 45 more. How many does it own now?",
        "520 + 45",
    ),
    ("Jack is 71 and Jill is 46. How much older is Jack?", "71 - 46"),
    (
        "A man saves 40 dollars a week for 6 weeks and then spends 100 dollars. How much has he"
        " left?",
        "40 * 6 - 100",
    ),
    ("Who was president in 1963?", _NONE),
    ("A pack has 16 cards. How many cards are in 12 packs?", "16 * 12"),
)


def proposing(model: Model, tools: Collection[str]) -> Callable[[str], Call | None]:
    """Which call of these tools a question wants: plainly (`routing`), or by a draft."""
    drafts = "calculate" in tools and model.program.parameters < MOST_PARAMETERS

    def propose(question: str) -> Call | None:
        call = routing.propose(question, tools)
        if call is None and drafts and (expression := draft(model, question)) is not None:
            return Call("calculate", json.dumps({"expression": expression}))
        return call

    return propose


def draft(model: Model, question: str) -> str | None:
    """The calculation that answers a question with two or three numbers, or None."""
    if len(question) > MOST_CHARACTERS or not _COUNTS.search(question):
        return None
    candidates = list(sound(numbers_of(question)))
    if not candidates:
        return None
    written = [expression for expression, _ in candidates]
    try:
        scores = _scores(model, question, [*written, _NONE])
    except ContextError:
        return None
    # What comes to the same is the same answer: 3 + 4 and 4 + 3.
    likely: dict[Fraction, list[tuple[float, str]]] = defaultdict(list)
    for (expression, value), score in zip(candidates, scores, strict=False):
        likely[value].append((score, expression))
    best = max(likely.values(), key=_together)
    return max(best)[1] if _together(best) > scores[-1] else None


def numbers_of(question: str) -> list[str]:
    """The numbers of a question that stand by themselves, each once, as they are written."""
    return list(dict.fromkeys(_NUMBER.findall(question)))


def sound(numbers: list[str]) -> Iterator[tuple[str, Fraction]]:
    """Calculations over two or three numbers, and what they come to: nothing that people count."""
    if not 2 <= len(numbers) <= 3:
        return
    orders = [numbers, numbers[::-1]] if len(numbers) == 2 else [numbers]
    for order in orders:
        for signs in itertools.product("+-*/", repeat=len(order) - 1):
            if order is not numbers and signs[0] in "+*":
                continue
            steps = (f" {sign} {number}" for sign, number in zip(signs, order[1:], strict=True))
            expression = order[0] + "".join(steps)
            try:
                value = compute(expression).number.value
            except ParameterError:
                continue
            if value >= 0 and 100 % value.denominator == 0:
                yield expression, value


def _scores(model: Model, question: str, candidates: list[str]) -> list[float]:
    """The log-likelihood of each candidate as the whole answer, after some examples."""
    messages: list[Message] = [{"role": "system", "content": _SYSTEM}]
    for asked, answered in _EXAMPLES:
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": answered})
    prompt = model.prompt_tokens([*messages, {"role": "user", "content": question}])
    end = next(iter(model.tokenizer.eot_ids), model.tokenizer.eos_id)
    assert end is not None
    answers = [[*model.tokenizer.encode_run(text, after=prompt[-1]), end] for text in candidates]
    scores = []
    for answer, rows in zip(answers, model.engine.continued(prompt, answers), strict=True):
        logits = rows[: len(answer)].astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        total = np.log(np.exp(logits).sum(axis=1))
        scores.append(float((logits[range(len(answer)), answer] - total).sum()))
    return scores


def _together(scored: list[tuple[float, str]]) -> float:
    return float(np.logaddexp.reduce([score for score, _ in scored]))
