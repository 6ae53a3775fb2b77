"""Exact arithmetic within bounds: fractions, and what becomes of them where no fraction will do.

Knows numbers alone; units are `units.py`'s matter, and how they are written `expression.py`'s. A
root or a sine is seldom a fraction: it is computed to more digits than are shown, and from then on
the number says that it is rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation, Overflow
from fractions import Fraction
from typing import Self

from pocketlm.errors import ParameterError

#: Most decimal digits of a numerator or a denominator, and the greatest factorial within them.
MOST_DIGITS, MOST_FACTORIAL = 4000, 1400
#: Digits that are shown of a number that is not exact. Sines are computed to some 15.
SHOWN_DIGITS = 12
#: Most decimal places in which an exact number is written out.
MOST_PLACES = 20

_MOST_BITS = int(MOST_DIGITS * math.log2(10))
_EXACTLY = Context(prec=50, Emax=10 * MOST_DIGITS, Emin=-10 * MOST_DIGITS)


@dataclass(frozen=True)
class Number:
    """A rational number; not `exact`, it stands for one near it."""

    value: Fraction
    exact: bool = True

    def __post_init__(self) -> None:
        """Raise ParameterError for a number of too many digits."""
        for part in (self.value.numerator, self.value.denominator):
            if part.bit_length() > _MOST_BITS:
                raise ParameterError(f"a number has more than {MOST_DIGITS:,} digits")

    @classmethod
    def read(cls, text: str) -> Self:
        """The number that decimal digits, with or without a point and an exponent, spell."""
        _, _, exponent = text.lower().partition("e")
        if len(exponent.lstrip("+-0")) > 4 or abs(int(exponent or 0)) > MOST_DIGITS:
            raise ParameterError(f"a number has more than {MOST_DIGITS:,} digits")
        return cls(Fraction(text))

    def __str__(self) -> str:
        """The number in full, as a fraction and rounded, or rounded alone after "≈"."""
        value = self.value
        if not self.exact:
            return f"≈ {_rounded(value)}"
        if value.denominator == 1:
            return str(value.numerator)
        places = _places(value.denominator)
        if places is not None and places <= MOST_PLACES:
            digits = str(abs(value.numerator) * 10**places // value.denominator).zfill(places + 1)
            return f"{'-' * (value < 0)}{digits[:-places]}.{digits[-places:]}"
        if max(abs(value.numerator), value.denominator) < 10**9:
            return f"{value.numerator}/{value.denominator} ≈ {_rounded(value)}"
        return f"≈ {_rounded(value)}"


def add(a: Number, b: Number) -> Number:
    """a + b."""
    return Number(a.value + b.value, a.exact and b.exact)


def subtract(a: Number, b: Number) -> Number:
    """a - b."""
    return Number(a.value - b.value, a.exact and b.exact)


def multiply(a: Number, b: Number) -> Number:
    """a · b."""
    return Number(a.value * b.value, a.exact and b.exact)


def divide(a: Number, b: Number) -> Number:
    """a / b."""
    return Number(a.value / _divisor(b), a.exact and b.exact)


def floor_divide(a: Number, b: Number) -> Number:
    """The greatest whole number that is not above a / b."""
    return Number(Fraction(a.value // _divisor(b)), a.exact and b.exact)


def remainder(a: Number, b: Number) -> Number:
    """What a leaves when b is taken as often as `floor_divide` says; it has the sign of b."""
    return Number(a.value % _divisor(b), a.exact and b.exact)


def power(base: Number, exponent: Number) -> Number:
    """The base to the power of the exponent; exact where there is such a fraction."""
    exact = base.exact and exponent.exact
    b, e = base.value, exponent.value
    if b == 0 and e < 0:
        raise ParameterError("zero has no negative powers: that would be a division by zero")
    if e.denominator == 1:
        bits = max(b.numerator.bit_length(), b.denominator.bit_length())
        if abs(b) != 1 and b != 0 and (bits - 1) * abs(e) > _MOST_BITS:
            raise ParameterError(f"the power has more than {MOST_DIGITS:,} digits")
        if abs(b) in (0, 1):  # whatever the exponent, which may be long
            return Number(b ** int(e % 2 or 2 * bool(e)), exact)
        return Number(b ** int(e), exact)
    if b < 0:
        raise ParameterError("a negative number has no real power that is not whole")
    if e.denominator <= 64 and (root := _root(b, e.denominator)) is not None:
        return power(Number(root, exact), Number(Fraction(e.numerator), exact))
    return _decimal(lambda c: c.power(_as_decimal(b), _as_decimal(e)))


def factorial(n: Number) -> Number:
    """n!."""
    if n.value.denominator != 1 or not 0 <= n.value <= MOST_FACTORIAL:
        raise ParameterError(f"a factorial is of a whole number from 0 to {MOST_FACTORIAL:,}")
    return Number(Fraction(math.factorial(int(n.value))), n.exact)


def root(n: Number, degree: int) -> Number:
    """The root of that degree; an odd one of a negative number is negative."""
    if n.value < 0 and degree % 2:
        positive = root(Number(-n.value, n.exact), degree)
        return Number(-positive.value, positive.exact)
    return power(n, Number(Fraction(1, degree)))


def logarithm(n: Number, base: Number | None = None) -> Number:
    """The logarithm of n; the natural one without a base. Exact for whole powers of the base."""
    if n.value <= 0 or (base is not None and (base.value <= 0 or base.value == 1)):
        raise ParameterError("logarithms are of numbers above 0, to a base above 0 that is not 1")
    if base is None:
        return _decimal(lambda c: c.ln(_as_decimal(n.value)))
    found = _decimal(lambda c: c.divide(c.ln(_as_decimal(n.value)), c.ln(_as_decimal(base.value))))
    whole = Number(Fraction(round(found.value)))
    if abs(whole.value) <= MOST_DIGITS * 4 and power(base, whole).value == n.value:
        return Number(whole.value, n.exact and base.exact)
    return found


def exponential(n: Number) -> Number:
    """e to the power of n."""
    return _decimal(lambda c: c.exp(_as_decimal(n.value)))


def by_float(function: Callable[[float], float], n: Number) -> Number:
    """What a function of floating-point numbers gives: some 15 digits of it are right."""
    try:
        return Number(Fraction(function(float(n.value))), exact=False)
    except (ValueError, OverflowError):
        raise ParameterError(f"{function.__name__} has no value for {n}") from None


#: Numbers with names.
CONSTANTS: Mapping[str, Number] = {
    "pi": Number(Fraction("3.14159265358979323846264338327950288419716939937511"), exact=False),
    "π": Number(Fraction("3.14159265358979323846264338327950288419716939937511"), exact=False),
    "tau": Number(Fraction("6.28318530717958647692528676655900576839433879875021"), exact=False),
    "e": Number(Fraction("2.71828182845904523536028747135266249775724709369996"), exact=False),
}


def _divisor(b: Number) -> Fraction:
    if b.value == 0:
        raise ParameterError("division by zero")
    return b.value


def _root(value: Fraction, degree: int) -> Fraction | None:
    """The exact root of a fraction, if it has one."""
    parts = [_whole_root(part, degree) for part in (value.numerator, value.denominator)]
    return None if None in parts else Fraction(*parts)  # type: ignore[arg-type]


def _whole_root(n: int, degree: int) -> int | None:
    low, high = 0, 1 << (n.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= n else (low, middle - 1)
    return low if low**degree == n else None


def _as_decimal(value: Fraction) -> Decimal:
    return _EXACTLY.divide(Decimal(value.numerator), Decimal(value.denominator))


def _decimal(compute: Callable[[Context], Decimal]) -> Number:
    """What decimal arithmetic gives, to 50 digits."""
    try:
        found = compute(_EXACTLY)
    except (InvalidOperation, Overflow):
        found = Decimal("nan")
    if not found.is_finite() or found.adjusted() > MOST_DIGITS:
        raise ParameterError(f"the result has more than {MOST_DIGITS:,} digits")
    if found.adjusted() < -MOST_DIGITS:
        found = Decimal(0)
    return Number(Fraction(found), exact=False)


def _rounded(value: Fraction) -> str:
    """The number to SHOWN_DIGITS significant digits, without zeros at its end."""
    found = Context(prec=SHOWN_DIGITS, Emax=10**6, Emin=-(10**6)).plus(_as_decimal(value))
    if found == 0 or abs(found.adjusted()) > SHOWN_DIGITS + 3:
        return f"{found.normalize():g}" if found else "0"
    text = f"{found:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _places(denominator: int) -> int | None:
    """Decimal places of a fraction with that denominator; None where they never end."""
    counts = []
    for prime in (2, 5):
        count = 0
        while denominator % prime == 0:
            denominator //= prime
            count += 1
        counts.append(count)
    return max(counts) if denominator == 1 else None
