"""Basic mathematics: order of operations, fractions, percentages, equations, decimals.

Right answers are exact fractions. It knows the questions and their answers; how a stated number is
read, `amounts.py` knows.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from pocketlm.evaluate.probes import amounts
from pocketlm.evaluate.probes.amounts import Slip
from pocketlm.evaluate.probes.probe import Probe, Variant, Verdict
from pocketlm.evaluate.probes.quantities import number as said
from pocketlm.evaluate.probes.wording import MOST_TOKENS, ending, people, question_of


@dataclass(frozen=True)
class _Question:
    """What is asked, the right answer, and the same as an expression where there is one."""

    asked: str
    right: Fraction
    slips: tuple[Slip, ...] = ()
    expression: str = ""


def _order(chance: random.Random) -> _Question:
    a, b, c, d = (chance.randint(2, 12) for _ in range(4))
    whole = b * chance.randint(2, 9)
    written, right, from_left = chance.choice(
        (
            (f"{a} + {b} × {c}", a + b * c, (a + b) * c),
            (f"{a} + {b} × {c} - {d}", a + b * c - d, (a + b) * c - d),
            (f"{a} × ({b} + {c}) - {d}", a * (b + c) - d, a * b + c - d),
            (f"{a * c} - {whole} ÷ {b}", a * c - whole // b, Fraction(a * c - whole, b)),
            (f"{whole} ÷ {b} × {a}", whole // b * a, Fraction(whole, b * a)),
            (f"{a * 10} - {b} - {c} × {d}", a * 10 - b - c * d, (a * 10 - b - c) * d),
            (f"{a} + {b}^2 × {c}", a + b**2 * c, (a + b) ** 2 * c),
            (f"({a} + {b}) × ({c} + {d})", (a + b) * (c + d), (a + b) * c + d),
            (f"{a} - ({b} - {c}) × {d}", a - (b - c) * d, a - b - c * d),
        )
    )
    slips = (Slip(Fraction(from_left), "the order of operations is not kept"),)
    return _Question(f"What is {written}?", Fraction(right), slips, written)


def _negative(chance: random.Random) -> _Question:
    a, b, c = (chance.randint(2, 15) for _ in range(3))
    written, right = chance.choice(
        (
            (f"-{a} - (-{b}) × {c}", -a + b * c),
            (f"{a} - {a + b} + (-{c})", -b - c),
            (f"(-{a}) × (-{b}) - {c}", a * b - c),
            (f"-{a} × ({b} - {b + c})", a * c),
            (f"{a} + (-{b}) × {c}", a - b * c),
            (f"(-{a})^2 - {b} × {c}", a * a - b * c),
        )
    )
    slips = (Slip(Fraction(-right), "the sign is wrong"),)
    return _Question(f"What is {written}?", Fraction(right), slips, written)


def _fractions(chance: random.Random) -> _Question:
    a, b = (Fraction(chance.randint(1, n - 1), n) for n in chance.sample(range(2, 13), 2))
    if a < b:
        a, b = b, a
    sign, right = chance.choice((("+", a + b), ("-", a - b), ("×", a * b), ("÷", a / b)))
    tops = {"+": a.numerator + b.numerator, "-": a.numerator - b.numerator}.get(sign)
    bottoms = a.denominator + b.denominator
    slips = [Slip(a / b if sign == "×" else a * b, "another operation")]
    if tops is not None:
        slips.insert(0, Slip(Fraction(tops, bottoms), "numerators and denominators apart"))
    written = f"({a}) {sign} ({b})"
    asked = f"What is {a} {sign} {b}? Give a whole number or a fraction."
    return _Question(asked, right, tuple(slips), written)


def _decimals(chance: random.Random) -> _Question:
    a, b = Fraction(chance.randint(11, 999), 10), Fraction(chance.randint(101, 2999), 100)
    c = Fraction(chance.randint(2, 99), 10)
    written, right = chance.choice(
        (
            (f"{said(a)} + {said(b)}", a + b),
            (f"{said(a)} - {said(b)}", a - b),
            (f"{said(a)} × {said(c)}", a * c),
            (f"{said(b)} × 0.1 + {said(c)}", b / 10 + c),
            (f"{said(a * c)} ÷ {said(c)}", a),
        )
    )
    slips = (
        Slip(right * 10, "the decimal point is in the wrong place"),
        Slip(right / 10, "the decimal point is in the wrong place"),
    )
    return _Question(f"What is {written}?", right, slips, written)


def _per_cent(chance: random.Random) -> _Question:
    rate = chance.choice((4, 5, 8, 10, 12, 15, 20, 25, 30, 35, 40, 45, 60, 75))
    base = 20 * chance.randint(2, 40)
    part = Fraction(base * rate, 100)
    more, less = base + part, base - part
    match chance.choice(("of", "up", "down", "twice", "what", "back")):
        case "of":
            slip = Slip(less, "what is left is given")
            return _Question(f"What is {rate}% of {base}?", part, (slip,))
        case "up":
            asked = f"A rent of ${base} rises by {rate}%. What is the new rent in dollars?"
            return _Question(asked, more, (Slip(part, "the rise alone", 0.25),))
        case "down":
            asked = f"A coat for ${base} is reduced by {rate}%. What does it cost now, in dollars?"
            return _Question(asked, less, (Slip(part, "the reduction alone", 0.25),))
        case "twice":
            asked = (
                f"A price of ${base} first rises by {rate}% and then falls by {rate}%. What is "
                "the price in the end, in dollars?"
            )
            slip = Slip(Fraction(base), "the two changes do not cancel")
            return _Question(asked, more * Fraction(100 - rate, 100), (slip,))
        case "what":
            slip = Slip(Fraction(rate, 100), "as a part, not as a percentage", 0.5)
            asked = f"What percentage of {base} is {said(part)}?"
            return _Question(asked, Fraction(rate), (slip,))
    asked = (
        f"After a reduction of {rate}% a coat costs {_dollars(less)}. What did it cost before, in "
        "dollars?"
    )
    slip = Slip(less * Fraction(100 + rate, 100), "per cent of the new price")
    return _Question(asked, Fraction(base), (slip,))


def _equation(chance: random.Random) -> _Question:
    x = Fraction(chance.choice([n for n in range(-9, 16) if n not in (0, 1)]))
    if chance.random() < 0.25:
        x += Fraction(1, 2)
    a, b, c = chance.randint(2, 9), chance.randint(1, 20), chance.randint(2, 9)
    if a == c:
        c += 1
    match chance.choice(("plain", "minus", "bracket", "both", "divided")):
        case "plain":
            written = f"{a}x + {b} = {said(a * x + b)}"
        case "minus":
            written = f"{b} - {a}x = {said(b - a * x)}"
        case "bracket":
            written = f"{a}(x + {b}) = {said(a * (x + b))}"
        case "both":
            written = f"{a}x + {b} = {c}x + {said(a * x + b - c * x)}".replace("+ -", "- ")
        case _:
            x = x * a
            written = f"x/{a} - {b} = {said(x / a - b)}"
    asked = chance.choice(("Solve {} for x.", "What is x, if {}?", "Find x: {}.")).format(written)
    slips = (Slip(-x, "the sign is wrong"), Slip(1 / x, "upside down"))
    return _Question(asked, x, slips, written)


def _mean(chance: random.Random) -> _Question:
    (name,) = people(chance, 1)
    while True:
        marks = [chance.randint(4, 40) for _ in range(chance.randint(3, 5))]
        right = Fraction(sum(marks), len(marks))
        if (2 * right).denominator == 1:
            break
    listed = ", ".join(map(str, marks[:-1]))
    asked = f"{name} scored {listed} and {marks[-1]} points. What is the mean of these scores?"
    middle = Fraction(sorted(marks)[len(marks) // 2])
    slips = (Slip(Fraction(sum(marks)), "the sum, not the mean"), Slip(middle, "the median"))
    return _Question(asked, right, slips, f"({' + '.join(map(str, marks))}) ÷ {len(marks)}")


def _share(chance: random.Random) -> _Question:
    a, b = people(chance, 2)
    p, q = chance.sample(range(2, 10), 2)
    thing = chance.choice(("pens", "apples", "stamps", "tickets"))
    if chance.random() < 0.5:
        part = chance.randint(3, 30)
        asked = f"{a} and {b} share {(p + q) * part} {thing} in the ratio {p} to {q}."
        slips = (
            Slip(Fraction(q * part), f"that is {b}'s share"),
            Slip(Fraction(part), "one part alone"),
            Slip(Fraction((p + q) * part, 2), "halves"),
        )
        return _Question(f"{asked} How many does {a} get?", Fraction(p * part), slips)
    one = Fraction(5 * chance.randint(3, 60), 100)
    asked = f"{p} {thing} cost {_dollars(p * one)}. What do {q} {thing} cost, in dollars?"
    cents, single = Slip(100 * q * one, "in cents", 0.5), Slip(one, "the price of one")
    return _Question(asked, q * one, (cents, single))


def _dollars(value: Fraction) -> str:
    return f"${value}" if value.denominator == 1 else f"${float(value):.2f}"


_KINDS: dict[str, Callable[[random.Random], _Question]] = {
    "order": _order,
    "fractions": _fractions,
    "per cent": _per_cent,
    "equation": _equation,
    "decimals": _decimals,
    "negative": _negative,
    "mean": _mean,
    "share": _share,
}


class _Maths(Probe):
    name = "maths"
    number = 5
    about = "Basic mathematics: order of operations, fractions, percentages, equations, decimals."
    seen = "right"
    most_tokens = MOST_TOKENS

    def draw(self, chance: random.Random, number: int) -> Variant:
        """Draw numbers and wording of one of the kinds."""
        kind = list(_KINDS)[number % len(_KINDS)]
        question = _KINDS[kind](chance)
        facts = amounts.facts(question.right, None, slips=question.slips)
        facts |= {"kind": kind, "expression": question.expression}
        return Variant(
            number,
            [{"role": "user", "content": f"{question.asked} {ending(chance)}"}],
            facts,
            amounts.target(question.right, None),
            amounts.constrained(()),
        )

    def judge(self, variant: Variant, answer: str) -> Verdict:
        """Judge the number that is stated at last."""
        return amounts.judge(answer, question_of(variant), variant.facts)


PROBE = _Maths()
