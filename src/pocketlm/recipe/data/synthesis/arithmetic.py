"""Equations in a text, and whether they are true.

Found is what stands on both sides of `=` or `≈` and is nothing but numbers, signs and names of
units; the project's own calculator computes it exactly. What cannot be read for certain (variables,
functions, units that differ) is not judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from pocketlm.assistant.tools.expression import compute
from pocketlm.errors import ParameterError

_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?")
_SIGNED = re.compile(rf"(?:(?<![\w)])[-−])?(?:{_NUMBER.pattern})")
_TOKEN = re.compile(
    # A letter glued to a number is a variable: 2x.
    rf"(?P<number>[$€£]?(?:{_NUMBER.pattern})%?(?![\d_²³!]|[^\W\d_]\b))"
    r"|(?P<sign>[-−–+*×·⋅/÷^]|(?<=[\d)%\s])[xX](?=\s*[$€£]?[\d(]))"
    r"|(?P<open>\()|(?P<close>\))"
    r"|(?P<of>of\b)|(?P<word>[^\W\d_]{2,}\b|(?<=\d\s)[mglhs]\b)|(?P<space>\s+)|(?P<other>.)",
    re.DOTALL,
)
_PLAIN = (
    (re.compile(r"\\d?frac\{([^{}]*)\}\{([^{}]*)\}"), r"(\1)/(\2)"),
    (re.compile(r"\\times\b"), "×"),
    (re.compile(r"\\div\b"), "÷"),
    (re.compile(r"\\cdot\b"), "·"),
    (re.compile(r"\\approx\b"), "≈"),
    (re.compile(r"\\(?:text|mathrm)\{([^{}]*)\}"), r" \1"),
    (re.compile(r"\\[()\[\],;!]|\*\*(?!\d)|(?<!\d)\*\*"), ""),
    (re.compile(r"\\([$%])"), r"\1"),
    (re.compile(r"(?<=[\d)%])\s+plus\s+(?=[$€£\d(])"), " + "),
    (re.compile(r"(?<=[\d)%])\s+minus\s+(?=[$€£\d(])"), " - "),
    (re.compile(r"(?<=[\d)%])\s+(?:times|multiplied by)\s+(?=[$€£\d(])"), " × "),
    (re.compile(r"(?<=[\d)%])\s+divided by\s+(?=[$€£\d(])"), " ÷ "),
    (re.compile(r"(?<=[\w)%])\s+(?:equals|is equal to)\s+(?=[-−$€£\d(])"), " = "),
)
#: Words after a number that are no units.
_NO_UNITS = frozenset(
    {"and", "or", "so", "is", "are", "was", "which", "with", "because", "but", "then", "the", "of"}
    | {"plus", "minus", "times", "divided", "multiplied", "equals", "remainder", "per", "each"}
    | {"in", "to", "for", "as", "we", "if", "when", "that", "this", "since"}
)
_BULLET = re.compile(r"^\s*(?:[-*+•]\s+|\d+[.)]\s+|#+\s+)")
_REMAINDER = re.compile(r"^\s*,?\s*(?:with\s+(?:a\s+)?)?(?:remainder|r)(?:\s+of)?\s*(\d+)", re.I)
_LONGEST = 300
"""Characters of a side that are looked at."""
_MULTIPLIED = frozenset("*×·⋅xX/÷")


@dataclass(frozen=True)
class Equation:
    """What was found, as it is written, and whether both sides are equal."""

    text: str
    true: bool
    value: str
    """What the left side comes to."""


@dataclass(frozen=True)
class _Side:
    """A side that could be read: its text, its value, and what its result is a number of."""

    text: str
    values: tuple[Fraction, ...]
    """More than one where percents may be read in two ways."""
    decimals: int
    computed: bool
    """Whether it has a sign, and is more than a number."""
    units: frozenset[str]
    rest: str
    """What comes after it."""


def numbers(text: str) -> list[Fraction]:
    """All numbers that are written in digits."""
    found = (each.replace(",", "").replace("−", "-") for each in _SIGNED.findall(text))
    return [Fraction(each) for each in found]


def equations(text: str) -> Iterator[Equation]:
    """All equations of a text that can be judged."""
    for written in text.splitlines():
        line = written
        for pattern, plain in _PLAIN:
            line = pattern.sub(plain, line)
        parts = re.split(r"([=≈])", _BULLET.sub("", line))
        for place in range(0, len(parts) - 2, 2):
            left, right = _last(parts[place]), _first(parts[place + 2])
            if left and right and (left.computed or right.computed):
                yield from _judged(left, right, parts[place + 1])


def _judged(left: _Side, right: _Side, sign: str) -> Iterator[Equation]:
    if left.units and right.units and not left.units & right.units:
        return  # 2 hours = 120 minutes
    text = f"{left.text} {sign} {right.text}"
    rest = _REMAINDER.match(right.rest)
    if rest and "/" in left.text.replace("÷", "/"):
        true = _divides(left.text, right.values[0], int(rest[1]))
        yield Equation(text + rest[0], true, f"{_shown(left.values[0])}")
        return
    near = sign == "≈" or right.decimals > 0
    within = Fraction(1, 2 * 10**right.decimals) if near else Fraction(0)
    if sign == "≈" and not right.decimals:  # rounded to its first digits: 1,234 ≈ 1,200
        zeros = re.search(r"0*$", right.text.replace(",", ""))
        within *= 10 ** len(zeros[0] if zeros else "")
    true = any(abs(a - b) <= within for a in left.values for b in right.values)
    yield Equation(text, true, _shown(left.values[0]))


def _divides(text: str, quotient: Fraction, rest: int) -> bool:
    whole, _, part = text.replace("÷", "/").rpartition("/")
    a, b = numbers(whole), numbers(part)
    return len(a) == len(b) == 1 and 0 <= rest < b[0] and a[0] == quotient * b[0] + rest


def _shown(value: Fraction) -> str:
    return f"{value.numerator}" if value.denominator == 1 else f"{float(value):.6g}"


Token = tuple[str, str]


def _tokens(text: str) -> list[Token]:
    return [(match.lastgroup or "", match[0]) for match in _TOKEN.finditer(text)]


def _last(text: str) -> _Side | None:
    """The expression that a text ends with."""
    tokens = _tokens(text.rstrip()[-_LONGEST:])
    start = len(tokens)
    for place in range(len(tokens) - 1, -1, -1):
        if not _belongs(tokens, place):
            break
        start = place
        if tokens[place][0] == "number" and _before(tokens, place) == "word":
            break
    while start < len(tokens) and tokens[start][0] in ("space", "word", "of"):
        start += 1
    before = tokens[:start]
    spaced = not before or before[-1][0] == "space"
    if not before and len(text) > _LONGEST:
        return None
    word = next((token for token in reversed(before) if token[0] != "space"), ("", ""))
    # What is glued to something, or is of something, is less than the whole.
    if not spaced and word[1] not in (",", ";", "(", "["):
        return None
    if word[0] in ("of", "number", "close"):
        return None
    if tokens[start:] and tokens[start][0] == "sign" and not _is_minus(tokens[start:], word[1]):
        return None
    return _side(tokens[start:], "")


def _is_minus(tokens: list[Token], before: str) -> bool:
    """Whether an expression begins with a negative number, and not in the middle of another."""
    is_glued = len(tokens) > 1 and tokens[0][1] in "-−" and tokens[1][0] == "number"
    return is_glued and before in ("", ":", ",", ";")


def _first(text: str) -> _Side | None:
    """The expression that a text begins with."""
    tokens = _tokens(text[:_LONGEST])
    end = 0
    for place in range(len(tokens)):
        if not _belongs(tokens, place):
            break
        if tokens[place][0] == "number" and _before(tokens, place) == "word":
            break
        end = place + 1
    if end == len(tokens) and len(text) > _LONGEST:
        return None
    while end and tokens[end - 1][0] in ("space", "sign", "open"):
        end -= 1
    rest = "".join(token[1] for token in tokens[end:])
    if re.match(r"[^\s.,;:)\]!?$*\"'’”]|:\d", rest):
        return None
    return _side(tokens[:end], rest)


def _belongs(tokens: list[Token], place: int) -> bool:
    """Whether a token may be part of an expression; a word is one as a unit, after a number."""
    kind = tokens[place][0]
    if kind == "of":
        return place >= 2 and tokens[place - 2][1].endswith("%")
    if kind == "word":
        return tokens[place][1].lower() not in _NO_UNITS and _before(tokens, place) == "number"
    if kind == "number":
        return _before(tokens, place) != "number"
    return kind != "other"


def _before(tokens: list[Token], place: int) -> str:
    """The kind of the token before a place, spaces left out."""
    place -= 1
    while place >= 0 and tokens[place][0] == "space":
        place -= 1
    return tokens[place][0] if place >= 0 else ""


def _side(tokens: list[Token], rest: str) -> _Side | None:
    if not any(kind == "number" for kind, _ in tokens):
        return None
    plain = "".join(text for kind, text in tokens if kind != "word")
    units = [text.lower().rstrip("s") for kind, text in tokens if kind == "word"]
    signs = {text for kind, text in tokens if kind == "sign"}
    if len(set(units)) > 1 and not signs & _MULTIPLIED:
        return None  # 2 hours + 30 minutes
    plain = re.sub(r"[$€£]", "", plain).strip()
    plain = re.sub(r"(?<=[\d)%\s])[xX](?=\s*[\d(])", "*", plain)
    readings = [plain, plain.replace("%", "")] if "%" in plain else [plain]
    values = []
    for reading in readings:
        try:
            value = compute(reading).number.value
        except ParameterError:
            continue
        if isinstance(value, Fraction):
            values.append(value)
    if not values:
        return None
    _, _, digits = (_NUMBER.findall(plain) or [""])[-1].partition(".")
    computed = bool(signs) or any(kind == "of" for kind, _ in tokens)
    shown = "".join(text for _, text in tokens).strip()
    return _Side(shown, tuple(values), len(digits), computed, frozenset(units), rest)
