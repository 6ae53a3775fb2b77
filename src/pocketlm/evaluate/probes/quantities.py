"""Numbers with units in English text: "1.5 hours", "an hour and a half", "sixty km/h".

Exact: a number is a fraction, a unit is a factor of its dimension's first unit. It knows how
numbers are written, as digits, words, fractions and LaTeX. It does not know which of them is the
answer (`statements.py`), nor which is right (`amounts.py`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

#: Units of time, length and of what else is asked for: what the dimension is, the factor, and how
#: it is written. Months and years are thirty and 365 days: no question mixes them with days.
_TIMES = {
    "second": (Fraction(1), r"seconds?|secs?|s"),
    "minute": (Fraction(60), r"minutes?|mins?"),
    "hour": (Fraction(3600), r"hours?|hrs?|h"),
    "day": (Fraction(86400), r"days?"),
    "week": (Fraction(604800), r"weeks?"),
    "month": (Fraction(2592000), r"months?"),
    "year": (Fraction(31536000), r"years?"),
}
_LENGTHS = {
    "metre": (Fraction(1), r"met(?:re|er)s?|m"),
    "kilometre": (Fraction(1000), r"kilomet(?:re|er)s?|kms?"),
    "mile": (Fraction("1609.344"), r"miles?|mi"),
    "foot": (Fraction("0.3048"), r"feet|foot|ft"),
}
_SPEEDS = {
    "kilometre/hour": r"kmh|kmph|kph",
    "mile/hour": r"mph",
    "metre/second": r"mps",
}


@dataclass(frozen=True)
class Unit:
    """A unit: its dimension ("time", "length", "speed", "share"), and how many first units it is.

    The first units are second, metre, metre a second, and one (of which a per cent is 1/100).
    """

    name: str
    dimension: str
    factor: Fraction


def _units() -> Mapping[str, Unit]:
    found = {name: Unit(name, "time", factor) for name, (factor, _) in _TIMES.items()}
    found |= {name: Unit(name, "length", factor) for name, (factor, _) in _LENGTHS.items()}
    for length, (far, _) in _LENGTHS.items():
        for time, (long, _) in _TIMES.items():
            found[f"{length}/{time}"] = Unit(f"{length}/{time}", "speed", far / long)
    found["percent"] = Unit("percent", "share", Fraction(1, 100))
    return found


#: By name: "hour", "kilometre", "kilometre/hour", "percent".
UNITS: Mapping[str, Unit] = _units()


@dataclass(frozen=True)
class Quantity:
    """A number in a text, from `start` to `end`: its value as said, and its unit if it has one.

    `places` are the decimal places that were said, None of what was no decimal; `spelled` is
    whether it was words.
    """

    value: Fraction
    unit: Unit | None
    start: int
    end: int
    places: int | None = None
    spelled: bool = False

    @property
    def first(self) -> Fraction:
        """The value in the first unit of its dimension."""
        return self.value * self.unit.factor if self.unit else self.value


def plain(text: str) -> str:
    """A text without the marks of Markdown and LaTeX; what is boxed follows "answer:"."""
    # Nested braces of more than a few levels are nobody's number.
    text = text[-_MOST:].replace("−", "-").replace("–", "-").replace("—", ", ").replace("’", "'")
    text = re.sub(r"[   ]", " ", text)
    text = re.sub(r"(?<=\d)\\(?=[dt]?frac)", r" \\", text)
    text = re.sub(r"\\[dt]?frac\s*\{([^{}]{1,40})\}\s*\{([^{}]{1,40})\}", r"\1/\2", text)
    text = re.sub(r"\\(?:text|mathrm|textbf|mathbf|operatorname)\s*\{([^{}]*)\}", r" \1 ", text)
    text = re.sub(r"\\boxed\s*\{([^{}]*)\}", r" answer: \1 ", text)
    text = re.sub(r"\\(?:times|cdot)\b", " × ", text)
    text = re.sub(r"\\div\b", " ÷ ", text)
    text = re.sub(r"\\(?:left|right|displaystyle|quad|qquad)\b|\\[,;:!()\[\]]", " ", text)
    text = re.sub(r"\\%", "%", text)
    if len(_ITEM.findall(text)) > 1:
        text = _ITEM.sub("", text)
    text = _HOURS.sub(r"\1 hours \2 minutes", text)
    text = re.sub(r"\$|\*\*|__|`|€|£", "", text)
    return re.sub(r"(?<![\d\s])\*(?=\S)|(?<=\S)\*(?![\d\s])", "", text)


def read(text: str, *, dimension: str | None = None) -> list[Quantity]:
    """The quantities in a text that is `plain`, from left to right; of one dimension, if said."""
    found = [q for match in _QUANTITY.finditer(text) if (q := _read(match)) is not None]
    joined: list[Quantity] = []
    for quantity in found:
        if joined and _continues(text, joined[-1], quantity):
            first = joined[-1]
            assert first.unit is not None
            value = first.value + quantity.first / first.unit.factor
            joined[-1] = replace(first, value=value, end=quantity.end)
        else:
            joined.append(quantity)
    if dimension is None:
        return joined
    return [q for q in joined if q.unit is not None and q.unit.dimension == dimension]


def number(value: Fraction) -> str:
    """A number as people write it: 1.5, 12, 1/3, 2 1/3."""
    if value.denominator == 1:
        return str(value.numerator)
    if 10**6 % value.denominator == 0:
        return f"{float(value):.10g}"
    if value.denominator > 1000:
        return f"{float(value):.6g}"
    whole, rest = divmod(abs(value), 1)
    sign = "-" if value < 0 else ""
    return f"{sign}{whole} {rest}" if whole else f"{sign}{rest}"


_SHORT = {
    "kilometre": "km", "metre": "m", "mile/hour": "mph", "kilometre/hour": "km/h",
    "metre/second": "m/s", "percent": "%",
}  # fmt: skip


def amount(value: Fraction, unit: str) -> str:
    """A number with its unit: "1.5 hours", "60 km/h"."""
    said = number(value)
    if unit in _SHORT:
        return f"{said}{'' if unit == 'percent' else ' '}{_SHORT[unit]}"
    if value == 1:
        return f"{said} {unit}"
    return f"{said} {'feet' if unit == 'foot' else unit + 's'}"


#: Most characters of a text that are read, its last ones.
_MOST = 8_000

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = {word: n for n, word in enumerate(_ONES)}
_WORDS |= {word: 10 * n for n, word in enumerate(_TENS, 2)}
_PARTS = {
    "half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6,
    "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10, "twelfth": 12, "fifteenth": 15,
    "sixteenth": 16, "twentieth": 20,
}  # fmt: skip
_SMALL = rf"(?:(?:{'|'.join(_TENS)})(?:[-\s](?:{'|'.join(_ONES[1:10])}))?|{'|'.join(_ONES[::-1])})"
_HUNDRED = rf"(?:(?:{_SMALL}|a)\shundred(?:\s(?:and\s)?{_SMALL})?)"
_WORD = (
    rf"(?:(?:{_HUNDRED}|{_SMALL}|a)\sthousand(?:,?\s(?:and\s)?(?:{_HUNDRED}|{_SMALL}))?"
    rf"|{_HUNDRED}|{_SMALL})"
)
_PART = (
    r"(?:half|halves|(?:third|quarter|fourth|(?:fif|six|seven|eigh|nin|ten|twelf|fifteen|sixteen"
    r"|twentie)th)s?)"
)
#: Whoever writes more digits than these does not answer.
_DIGITS = r"(?:\d{1,3}(?:,\d{3}){1,9}(?!\d)|\d{1,30}(?!\d))(?:\.\d{1,30}(?!\d))?|\.\d{1,30}(?!\d)"


def _or(named: Mapping[str, tuple[Fraction, str]]) -> str:
    return "|".join(pattern for _, pattern in named.values())


_SPEED = rf"(?:{_or(_LENGTHS)})(?:\s*/\s*|\s+(?:per|an?|each|every)\s+)(?:{_or(_TIMES)})"
_UNIT = (
    rf"(?P<unit>%|per\s?cent\b|(?:{_SPEED}|{'|'.join(_SPEEDS.values())}|{_or(_TIMES)}"
    rf"|{_or(_LENGTHS)})(?![\w/]))"
)
_FILL = r"(?:(?:more|full|whole|total|additional|extra|further|entire|straight)\s+)?"
#: What numbers the items of a list.
_ITEM = re.compile(r"^[ \t]*\d{1,2}[.)](?:[ \t]+(?=\S)|[ \t]*\Z)", re.MULTILINE)
#: "1h 30m": elsewhere an m is a metre.
_HOURS = re.compile(
    r"(\d{1,9})\s?h(?:rs?|ours?)?\s?(?:and\s)?(\d{1,9})\s?m(?:ins?)?\b", re.IGNORECASE
)
_QUANTITY = re.compile(
    rf"""
    (?P<sign>(?<![\w.)\]])-(?=[\d.])|=\s*-\s*(?=[\d.])|\b(?:minus|negative)\s+)?
    (?:
        (?P<clock>\b\d{{1,2}}:\d\d(?::\d\d)?)
      | (?<![\w/.])(?P<mixed>\d{{1,9}})(?:\s+|-|\s+and\s+)
        (?P<m_above>\d{{1,9}})/(?P<m_below>\d{{1,9}})(?!\d|/|\.\d)
      | (?<![\w/.])(?P<above>\d{{1,9}})/(?P<below>\d{{1,9}})(?!\d|/|\.\d)
      | (?:(?<![\w.])(?P<whole>\d{{1,9}}))?\s?(?P<vulgar>[¼-¾⅐-⅞])
      | (?<![\w.])(?P<digits>{_DIGITS})
      | \b(?P<parts>(?:{_WORD}|an?|\d{{1,9}})[-\s])(?P<part>{_PART})\b(?:\s+of)?(?:\s+an?(?=\s))?
      | \b(?P<half>half)(?:\s+of)?\s+an?(?=\s)
      | \b(?P<word>{_WORD})\b
      | \b(?P<one>an?)(?=\s+(?:hour|minute|second|day|week|month|year|mile)\b)
    )
    (?:\s+and\s+(?P<more>a|one|two|three)[-\s](?P<more_part>{_PART})\b(?!\s+of))?
    (?:(?:\s*|-){_FILL}{_UNIT})?
    (?:\s+and\s+(?P<after>a|one|two|three)[-\s](?P<after_part>{_PART})\b(?!\s+of))?
    """,
    re.VERBOSE | re.IGNORECASE,
)


def _read(match: re.Match[str]) -> Quantity | None:
    value, places, spelled = _value(match)
    unit = _unit(match["unit"]) if match["unit"] else None
    if value is None:
        # A time of day is no amount, unless it says hours.
        if unit is None or unit.name != "hour":
            return None
        hours, minutes, *_ = match["clock"].split(":")
        value = int(hours) + Fraction(int(minutes), 60)
    for count, part in (("more", "more_part"), ("after", "after_part")):
        if match[part]:
            value += _small(match[count]) / _PARTS[_single(match[part])]
            places = None
    if match["sign"]:
        value = -value
    return Quantity(value, unit, match.start(), match.end(), places, spelled)


def _value(match: re.Match[str]) -> tuple[Fraction | None, int | None, bool]:
    """The number, its decimal places, and whether it is in words."""
    if match["clock"]:
        return None, None, False
    if match["mixed"]:
        below = int(match["m_below"])
        return int(match["mixed"]) + Fraction(int(match["m_above"]), below or 1), None, False
    if match["above"]:
        return Fraction(int(match["above"]), int(match["below"]) or 1), None, False
    if match["vulgar"]:
        part = Fraction(unicodedata.numeric(match["vulgar"])).limit_denominator(100)
        return int(match["whole"] or 0) + part, None, False
    if match["digits"]:
        digits = match["digits"].replace(",", "")
        places = len(digits.partition(".")[2])
        return Fraction(digits), places or None, False
    if match["part"]:
        count = match["parts"][:-1]
        of = Fraction(int(count)) if count.isdecimal() else _small(count)
        return of / _PARTS[_single(match["part"])], None, True
    if match["half"]:
        return Fraction(1, 2), None, True
    return _small(match["word"] or match["one"]), None, True


def _single(part: str) -> str:
    part = part.lower()
    return part if part in _PARTS else part.removesuffix("s")


def _small(words: str) -> Fraction:
    """A number in words, below a million."""
    total = group = 0
    for word in re.split(r"[-,\s]+", words.lower()):
        match word:
            case "thousand":
                total, group = total + (group or 1) * 1000, 0
            case "hundred":
                group = (group or 1) * 100
            case "a" | "an":
                group = 1
            case _:
                group += _WORDS.get(word, 0)
    return Fraction(total + group)


def _unit(said: str) -> Unit | None:
    said = re.sub(r"\s+", " ", said.lower())
    if said.startswith(("%", "per")):
        return UNITS["percent"]
    for name, pattern in _SPEEDS.items():
        if re.fullmatch(pattern, said):
            return UNITS[name]
    parts = re.split(r" ?/ ?| (?:per|an?|each|every) ", said)
    names = [
        name
        for part in parts
        for name, (_, pattern) in (_TIMES | _LENGTHS).items()
        if re.fullmatch(pattern, part)
    ]
    return UNITS["/".join(names)]


def _continues(text: str, first: Quantity, second: Quantity) -> bool:
    """Whether the second goes on with the first: "1 hour and 30 minutes", "1h 30m"."""
    if first.unit is None or second.unit is None or first.value < 0:
        return False
    if first.unit.dimension != "time" or not re.fullmatch(
        r"\s*(?:,|and|, and)?\s*", text[first.end : second.start]
    ):
        return False
    return second.unit.dimension == "time" and 0 <= second.first < first.unit.factor
