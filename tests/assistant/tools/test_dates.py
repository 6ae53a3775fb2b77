"""Dates and times: what is read, what comes of it, and what is refused."""

import contextlib
import time
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketlm.assistant.tools import dates
from pocketlm.assistant.tools.dates import evaluate
from pocketlm.errors import ParameterError


def now() -> datetime:
    return datetime(2026, 11, 27, 10, 30, 15, 999)


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("2026-03-01 + 45 days", "2026-04-15 (Wednesday)"),
        ("days between 2024-02-28 and 2024-03-01", "2 days"),
        ("2024-03-01 - 2024-02-28", "2 days"),
        ("days between 2024-03-01 and 2024-02-28", "-2 days"),
        ("weekday of 2026-03-01", "2026-03-01 (Sunday)"),
        ("the day of the week on 25 December 2026?", "2026-12-25 (Friday)"),
        ("March 1st, 2026", "2026-03-01 (Sunday)"),
        (
            "2026-01-31 + 1 month",
            "2026-02-28 (Saturday), the last day of the month: it has no day 31",
        ),
        ("2024-02-29 + 4 years", "2028-02-29 (Tuesday)"),
        ("2026-03-01 - 1 month + 2 days", "2026-02-03 (Tuesday)"),
        ("days until 2026-12-24", "27 days"),
        ("days since 2026-01-01", "330 days"),
        ("now", "2026-11-27 10:30:15 (Friday)"),
        ("the current time", "2026-11-27 10:30:15 (Friday)"),
        ("today", "2026-11-27 (Friday)"),
        ("yesterday", "2026-11-26 (Thursday)"),
        ("tomorrow + 2 weeks and 3 days", "2026-12-15 (Tuesday)"),
        ("three weeks after the 4th of July 2026", "2026-07-25 (Saturday)"),
        ("a week before 4 Sept. 2026", "2026-08-28 (Friday)"),
        ("in 90 minutes", "2026-11-27 12:00:15 (Friday)"),
        ("10 days ago", "2026-11-17 (Tuesday)"),
        ("2026-03-01 2:30 pm - 3 hours", "2026-03-01 11:30:00 (Sunday)"),
        ("2026-03-01 12:05 am + 1 minute", "2026-03-01 00:06:00 (Sunday)"),
        ("weeks between 2026-01-01 and 2026-02-01", "4 weeks and 3 days"),
        ("months between 2025-11-30 and 2026-02-28", "3 months"),
        ("months between 2026-01-31 and 2026-02-27", "0 months, 27 days"),
        ("years between 1990-05-17 and today", "36 years, 6 months, 10 days"),
        ("hours from 2026-01-01 to 2026-01-03 06:00", "54 hours"),
        ("days between 2026-01-01 09:00 and 2026-01-02 10:00", "25 hours"),
    ],
)  # fmt: skip
def test_expressions(expression, result):
    assert evaluate(expression, now) == result


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("2026-13-01", "month"), ("2026-02-30", "day"), ("03/04/2026", "no date expression"),
        ("9999-12-31 + 1 day", "1 to 9999"), ("0001-01-01 - 1 year", "1 to 9999"),
        ("2026-01-01 + 99999999999999999999 years", "more than"),
        ("2026-01-01 + 10000000 months", "1 to 9999"), ("2026-01-01 25:00", "hour"),
        ("x" * 201, "201"),
        ("days between 2026-01-01", "for example"), ("2026-01-01; rm -rf /", "for example"),
    ],
)  # fmt: skip
def test_refusals(expression, word):
    with pytest.raises(ParameterError, match=word):
        evaluate(expression, now)


days = st.dates(date(1, 1, 2), date(9990, 1, 1))


@given(days, st.integers(0, 2000))
def test_adding_and_counting_agree(start, count):
    later = start + timedelta(days=count)
    unit = "day" if count == 1 else "days"
    assert evaluate(f"{start} + {count} days", now).startswith(f"{later} (")
    assert evaluate(f"days between {start} and {later}", now) == f"{count} {unit}"


@pytest.mark.parametrize("text", ["1 day " * 30, "2026-01-01" + " + 1 day" * 23, "a day, " * 28])
def test_no_text_takes_long(text):
    start = time.perf_counter()
    with contextlib.suppress(ParameterError):
        evaluate(text, now)
    assert time.perf_counter() - start < 0.5


def test_the_skill_tells_the_time():
    (skill,) = dates.skills(now)
    assert skill.run({"expression": "now"}) == "2026-11-27 10:30:15 (Friday)"
