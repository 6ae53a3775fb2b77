"""The tool `date_time`: dates and times added to, compared and named, and what time it is.

Knows the Gregorian calendar, by Python's datetime, and a few forms of dates. What it does not read
it refuses: 03/04/2026 is two different days.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from pocketlm.assistant.tools.skill import Skill
from pocketlm.chat.tools import Tool
from pocketlm.errors import ParameterError

MOST_CHARACTERS = 200
#: Longest stretch that is added, in its unit's number.
MOST_COUNT = 10_000_000

_MONTHS = {
    name.lower(): number
    for names in (calendar.month_name, calendar.month_abbr)
    for number, name in enumerate(names)
    if name
} | {"sept": 9}
_MONTH = "(?:" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\.?"
_CLOCK = r"(?:[ T,]+(?:at )?\d{1,2}:\d{2}(?::\d{2})?(?:\s*[ap]m)?)?"
_DATE = (
    r"(?:(?:\d{4}-\d{1,2}-\d{1,2}"
    rf"|(?:the )?\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH},? \d{{4}}"
    rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}){_CLOCK}|today|tomorrow|yesterday|now)"
)
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_UNIT = "(?:second|minute|hour|day|week|month|year)s?"
_COUNT = r"(?:\d[\d,]*|an?|one|two|three|four|five|six|seven|eight|nine|ten)"
_WORDS = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10,
}  # fmt: skip
_STRETCH = rf"{_COUNT} {_UNIT}(?:(?:,| and|, and)? {_COUNT} {_UNIT})*"
_NAMED_DATE = re.compile(rf"(?<!\w)(?=.*\d{{4}}){_DATE}(?!\w)", re.IGNORECASE)
_WHOLE_STRETCH = re.compile(rf"(?<!\w){_STRETCH}(?!\w)", re.IGNORECASE)
_FORMS: list[tuple[re.Pattern[str], str]] = [
    (re.compile(pattern, re.IGNORECASE), name)
    for pattern, name in (
        (rf"(?P<a>{_DATE})(?P<steps>(?: *[-+] *{_STRETCH})+)", "steps"),
        (rf"(?P<stretch>{_STRETCH}) (?P<way>after|from|before) (?P<a>{_DATE})", "shift"),
        (rf"in (?P<stretch>{_STRETCH})|(?P<past>{_STRETCH}) ago", "from now"),
        (rf"(?P<b>{_DATE}) *- *(?P<a>{_DATE})", "between"),
        (rf"(?:(?P<unit>{_UNIT}) )?between (?P<a>{_DATE}) and (?P<b>{_DATE})", "between"),
        (
            rf"(?:(?P<unit>{_UNIT}) )?from (?P<a>{_DATE}) (?:to|until|till) (?P<b>{_DATE})",
            "between",
        ),
        (rf"(?:(?P<unit>{_UNIT}) )?(?:until|till|to) (?P<b>{_DATE})", "between"),
        (rf"(?:(?P<unit>{_UNIT}) )?since (?P<a>{_DATE})", "between"),
        (rf"(?:(?:the )?(?:weekday|day of the week)(?: of| on)? )?(?P<a>{_DATE})", "name"),
        (r"(?:the )?(?:current )?(?:date|time)(?: and time)?|", "now"),
    )
]


def evaluate(text: str, now: Callable[[], datetime] = datetime.now) -> str:
    """What an expression comes to, for example "2026-04-15 (Wednesday)" or "10 days".

    Raises ParameterError for what is none, or leaves the years 1 to 9999.
    """
    if len(text) > MOST_CHARACTERS:
        raise ParameterError(f"the expression has {len(text)} characters; {MOST_CHARACTERS} may be")
    said = " ".join(text.replace("−", "-").replace("–", "-").split()).rstrip("?.! ")
    for pattern, form in _FORMS:
        if match := pattern.fullmatch(said):
            try:
                return _FORM[form](match, now())
            except OverflowError:
                raise ParameterError("the date is not within the years 1 to 9999") from None
    raise ParameterError(
        f"{said[:60]!r} is no date expression; there are for example: 2026-03-01 + 45 days,"
        " days between 2024-02-28 and 2024-03-01, weekday of 1 March 2026, now"
    )


def dates_in(text: str) -> list[str]:
    """The dates that a text names by year, month and day."""
    return [match[0] for match in _NAMED_DATE.finditer(text)]


def stretches_in(text: str) -> list[str]:
    """The stretches of time in a text: "3 weeks and 2 days"."""
    return [match[0] for match in _WHOLE_STRETCH.finditer(text)]


def skills(now: Callable[[], datetime] = datetime.now) -> list[Skill]:
    """The tool, by the clock `now`."""
    expression = {
        "type": "string",
        "minLength": 1,
        "maxLength": MOST_CHARACTERS,
        "description": "for example: 2026-03-01 + 45 days; days between 2024-02-28 and 2024-03-01;"
        " weekday of 2026-03-01; days until 2026-12-24; now",
    }
    tool = Tool(
        "date_time",
        "Computes with dates and tells the current date and time.",
        {"properties": {"expression": expression}, "required": ["expression"]},
    )

    def run(arguments: Mapping[str, Any]) -> str:
        return evaluate(arguments["expression"], now)

    return [Skill(tool, run)]


def _steps(match: re.Match[str], now: datetime) -> str:
    moment, note = _moment(match["a"], now), ""
    for sign, stretch in re.findall(rf"([-+]) *({_STRETCH})", match["steps"], re.IGNORECASE):
        moment, more = _moved(moment, stretch, 1 if sign == "+" else -1)
        note = note or more
    return _named(moment) + note


def _shift(match: re.Match[str], now: datetime) -> str:
    sign = -1 if match["way"].lower() == "before" else 1
    moment, note = _moved(_moment(match["a"], now), match["stretch"], sign)
    return _named(moment) + note


def _from_now(match: re.Match[str], now: datetime) -> str:
    stretch, sign = (match["stretch"], 1) if match["stretch"] else (match["past"], -1)
    timed = re.search("second|minute|hour", stretch, re.IGNORECASE)
    moment, note = _moved(now.replace(microsecond=0) if timed else now.date(), stretch, sign)
    return _named(moment) + note


def _between(match: re.Match[str], now: datetime) -> str:
    found = match.groupdict()
    first = _moment(found.get("a") or "today", now)
    second = _moment(found.get("b") or "today", now)
    unit = (found.get("unit") or "day").lower().rstrip("s")
    if unit in ("month", "year"):
        return _whole_months(first, second, unit)
    timed = isinstance(first, datetime) or isinstance(second, datetime)
    gap = _with_time(second) - _with_time(first)
    seconds = gap.days * 86400 + gap.seconds
    if unit == "day" and timed and seconds % 86400:
        unit = "hour" if seconds % 3600 == 0 else "minute" if seconds % 60 == 0 else "second"
    count, rest = divmod(abs(seconds), _SECONDS[unit])
    sign = "-" if seconds < 0 else ""
    if not rest:
        return f"{sign}{_counted(count, unit)}"
    below = "day" if unit == "week" and rest % 86400 == 0 else "second"
    return f"{sign}{_counted(count, unit)} and {_counted(rest // _SECONDS[below], below)}"


def _whole_months(first: date, second: date, unit: str) -> str:
    early, late = sorted((_with_time(first), _with_time(second)))
    months = (late.year - early.year) * 12 + late.month - early.month
    if _with_time(_months_on(early, months)) > late:
        months -= 1
    days = (late - _with_time(_months_on(early, months))).days
    years, rest = divmod(months, 12)
    parts = [(years, "year"), (rest, "month")] if unit == "year" else [(months, "month")]
    parts.append((days, "day"))
    shown = [_counted(n, name) for n, name in parts if n or name == unit]
    return ("-" if _with_time(second) < _with_time(first) else "") + ", ".join(shown)


def _name(match: re.Match[str], now: datetime) -> str:
    return _named(_moment(match["a"], now))


def _now(_: re.Match[str], now: datetime) -> str:
    return _named(now.replace(microsecond=0))


_FORM: Mapping[str, Callable[[re.Match[str], datetime], str]] = {
    "steps": _steps,
    "shift": _shift,
    "from now": _from_now,
    "between": _between,
    "name": _name,
    "now": _now,
}


def _moment(text: str, now: datetime) -> date:
    """The date, or the date and time, that a text of the form _DATE names."""
    text = text.lower()
    if text == "now":
        return now.replace(microsecond=0)
    relative = {"yesterday": -1, "today": 0, "tomorrow": 1}
    if text in relative:
        return now.date() + timedelta(days=relative[text])
    clock = re.search(r"(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\s*([ap])m)?$", text)
    day_part = text[: clock.start()] if clock else text
    try:
        if iso := re.match(r"(\d{4})-(\d{1,2})-(\d{1,2})", day_part):
            day = date(*map(int, iso.groups()))
        else:
            name = re.search("[a-z]{3,}", day_part.replace("the ", ""))
            assert name is not None
            number, year = re.findall(r"\d+", day_part)
            day = date(int(year), _MONTHS[name[0]], int(number))
        if clock is None:
            return day
        hour, minute, second = (int(part or 0) for part in clock.groups()[:3])
        if clock[4]:
            hour = hour % 12 + 12 * (clock[4] == "p")
        return datetime(day.year, day.month, day.day, hour, minute, second)
    except ValueError as error:
        raise ParameterError(f"{text!r} is no date: {error}") from None


def _moved(moment: date, stretch: str, sign: int) -> tuple[date, str]:
    """The date so much later or earlier, and a note where a month has no such day."""
    note = ""
    for count, unit in re.findall(rf"({_COUNT}) ({_UNIT})", stretch, re.IGNORECASE):
        unit = unit.lower().rstrip("s")
        word = count.lower().replace(",", "")
        number = sign * (_WORDS[word] if word in _WORDS else int(word[:12]))
        if abs(number) > MOST_COUNT:
            raise ParameterError(f"{count} {unit}s are more than {MOST_COUNT:,}")
        if unit in ("month", "year"):
            before = moment
            moment = _months_on(moment, number * (12 if unit == "year" else 1))
            if moment.day != before.day:
                note = f", the last day of the month: it has no day {before.day}"
            continue
        if unit in ("second", "minute", "hour") and not isinstance(moment, datetime):
            moment = _with_time(moment)
        moment += timedelta(seconds=number * _SECONDS[unit])
    return moment, note


def _months_on(moment: date, count: int) -> date:
    year, month = divmod(moment.year * 12 + moment.month - 1 + count, 12)
    if not 1 <= year <= 9999:
        raise OverflowError
    last = calendar.monthrange(year, month + 1)[1]
    return moment.replace(year=year, month=month + 1, day=min(moment.day, last))


def _with_time(moment: date) -> datetime:
    if isinstance(moment, datetime):
        return moment
    return datetime(moment.year, moment.month, moment.day)


def _named(moment: date) -> str:
    day = f"{moment.year:04}-{moment.month:02}-{moment.day:02}"
    weekday = calendar.day_name[moment.weekday()]
    if isinstance(moment, datetime):
        return f"{day} {moment:%H:%M:%S} ({weekday})"
    return f"{day} ({weekday})"


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}{'s' if count != 1 else ''}"
