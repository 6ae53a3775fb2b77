"""Arithmetic as people write it, read and computed in one go: "17% of 2,340", "3 ft + 2 m in cm".

    expression = sum ["in" units]              also to, as, into
    sum        = product {("+" | "-") product}
    product    = signed {("*" | "/" | "//" | "%" | "of") signed}
    signed     = ("-" | "+") signed | postfix ["^" signed]
    postfix    = atom {"!" | "%" | "²" | "³"}
    atom       = number {units number} [units] | constant | "(" expression ")" [units]
               | function "(" expression {"," expression} ")" | function atom
    units      = raised {("*" | "/" | "per") raised}
    raised     = ["square" | "cubic"] unit | unit [exponent]

A number and its unit belong together: 10 m / 2 s is 5 m/s. "%" before a number, a name or a
bracket is a remainder and anywhere else percent; a sum's percent are of what stands before them:
200 + 10% is 220. Nothing is called but what is listed here. Length, depth and digits have bounds,
and errors name the place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple, NoReturn, TypeVar

from pocketlm.assistant.tools import numbers, units
from pocketlm.assistant.tools.numbers import CONSTANTS, Number
from pocketlm.assistant.tools.units import Quantity
from pocketlm.errors import ParameterError

_T = TypeVar("_T")

MOST_CHARACTERS, MOST_DEPTH = 1000, 100

_INTO = ("in", "to", "as", "into")

#: How operators are spelled; the longest first.
_SIGNS = {
    "to the power of": "^", "raised to": "^", "**": "^", "^": "^",
    "multiplied by": "*", "times": "*", "×": "*", "·": "*", "⋅": "*", "*": "*",
    "divided by": "/", "over": "/", "//": "//", "÷": "/", "/": "/", "per cent": "%",
    "plus": "+", "+": "+", "minus": "-", "−": "-", "–": "-", "-": "-",
    "percent": "%", "%": "%", "modulo": "mod", "mod": "mod", "per": "per", "of": "of",
    "squared": "²", "²": "²", "cubed": "³", "³": "³", "factorial": "!", "!": "!",
    "the square root of": "sqrt", "square root of": "sqrt", "√": "sqrt",
    "the cube root of": "cbrt", "cube root of": "cbrt", "(": "(", ")": ")", ",": ",",
}  # fmt: skip
_SIGN = "|".join(
    re.escape(spelling) + r"\b" * spelling[-1].isalpha()
    for spelling in sorted(_SIGNS, key=len, reverse=True)
)
#: Names of two words count as one.
_NAME = (
    r"(?:degrees?\s+)(?:celsius|fahrenheit|[CF])\b|(?:nautical|fluid|light|metric|astronomical)"
    r"[ _-](?:miles?|ounces?|years?|tons?|units?)\b|(?:(?![²³])[^\W\d])+|°[CF]?"
)
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+)"
    rf"|(?P<sign>{_SIGN})|(?P<name>{_NAME})|(?P<end>$)|(?P<other>.))",
    re.IGNORECASE | re.DOTALL,
)
#: In a function's brackets a comma always parts two values.
_PLAIN_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+")


class _Token(NamedTuple):
    kind: str
    text: str
    place: int


def compute(text: str) -> Quantity:
    """What an expression comes to. Raises ParameterError, which says what is wrong and where."""
    if len(text) > MOST_CHARACTERS:
        raise ParameterError(
            f"the expression has {len(text):,} characters; {MOST_CHARACTERS:,} may be"
        )
    return _Reader(text).whole()


class _Reader:
    """One expression, read from left to right by recursive descent."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    def whole(self) -> Quantity:
        found = self._expression()
        if self._token.kind != "end":
            self._fail("this does not belong here")
        return found

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _takes(self, *signs: str) -> str | None:
        """The sign that comes next, taken, if it is one of these."""
        token = self._token
        if token.kind == "sign" and token.text in signs:
            self._next += 1
            return token.text
        return None

    def _expression(self) -> Quantity:
        found = self._sum()
        while self._is_conversion():
            self._next += 1
            target = self._units()
            if target is None:
                self._fail("a unit is wanted here")
            found = self._at(self._next - 1, units.convert, found, target)
        return found

    def _sum(self) -> Quantity:
        found = self._product()
        while sign := self._takes("+", "-"):
            place, begin = self._next - 1, self._next
            right = self._product()
            if self._is_percent(begin):
                right = units.multiply(found, right)
            operation = units.add if sign == "+" else units.subtract
            found = self._at(place, operation, found, right)
        return found

    def _product(self) -> Quantity:
        found = self._signed()
        while sign := self._takes("*", "/", "//", "%", "mod", "of"):
            place = self._next - 1
            right = self._signed()
            found = self._at(place, _PRODUCTS[sign], found, right)
        return found

    def _signed(self) -> Quantity:
        with_depth = self._deeper()
        try:
            if sign := self._takes("-", "+"):
                found = self._signed()
                value = found.number.value
                negative = Number(-value, found.number.exact)
                return found if sign == "+" else Quantity(negative, found.unit)
            base = self._postfix()
            place = self._next
            if not self._takes("^"):
                return base
            exponent = self._signed()
            return self._at(place, lambda: units.power(base, _plain(exponent)))
        finally:
            self._depth = with_depth

    def _postfix(self) -> Quantity:
        found = self._atom()
        while True:
            place = self._next
            if self._takes("!"):
                found = self._at(place, _factorial, found)
            elif square := self._takes("²", "³"):
                power = Number(Fraction("²³".index(square) + 2))
                found = self._at(place, units.power, found, power)
            elif self._token.text == "%" and not self._begins_value(self._next + 1):
                self._next += 1
                hundredth = Quantity(Number(Fraction(1, 100)))
                found = self._at(place, units.multiply, found, hundredth)
            else:
                return found

    def _atom(self) -> Quantity:
        token = self._token
        before = self._deeper()
        try:
            if token.kind == "number":
                return self._quantity()
            if self._takes("("):
                found = self._expression()
                self._close()
                return self._with_units(found)
            if token.text in ("sqrt", "cbrt") or token.text.lower() in _FUNCTIONS:
                return self._call()
            if token.kind == "name" and token.text.lower() in CONSTANTS:
                self._next += 1
                return Quantity(CONSTANTS[token.text.lower()])
            end = token.kind == "end"
            self._fail("something is missing here" if end else "a number is wanted here")
        finally:
            self._depth = before

    def _quantity(self) -> Quantity:
        """A number with its unit, or several that belong together: 5 ft 11 in."""
        found = self._with_units(self._number())
        while found.unit is not None and self._token.kind == "number":
            place = self._next
            more = self._with_units(self._number())
            found = self._at(place, units.add, found, more)
        return found

    def _number(self) -> Quantity:
        place = self._next
        self._next += 1
        text = self._tokens[place].text.replace(",", "")
        return Quantity(self._at(place, lambda: Number.read(text)))

    def _with_units(self, quantity: Quantity) -> Quantity:
        if quantity.unit is not None or self._is_conversion():
            return quantity
        found = self._units()
        return quantity if found is None else Quantity(quantity.number, found)

    def _units(self) -> Any:  # noqa: ANN401
        """Units multiplied and divided, taken if there are any."""
        found = self._raised()
        while found is not None and self._token.text in ("*", "/", "per"):
            multiplied = self._token.text == "*"
            self._next += 1
            other = self._raised()
            if other is None:
                self._next -= 1
                break
            found = found * other if multiplied else found / other
        return found

    def _raised(self) -> Any:  # noqa: ANN401
        """One unit with its exponent, taken if it comes next."""
        begin = self._next
        power = {"square": 2, "sq": 2, "cubic": 3}.get(self._token.text.lower())
        self._next += power is not None
        token, after = self._token, self._tokens[min(self._next + 1, len(self._tokens) - 1)]
        called = after.text == "(" and token.text.lower() in _FUNCTIONS
        unit = None
        if token.kind == "name" and not called and token.text not in CONSTANTS:
            unit = units.unit(token.text)
        if unit is None:
            self._next = begin
            return None
        self._next += 1
        if square := self._takes("²", "³"):
            power = "²³".index(square) + 2
        elif self._token.text == "^" and self._tokens[self._next + 1].text in map(str, range(1, 7)):
            self._next += 2
            power = int(self._tokens[self._next - 1].text)
        return unit if power is None else unit**power

    def _is_conversion(self) -> bool:
        """Whether "in" (which may be inches), "to", "as" or "into" is next, and a unit follows."""
        token = self._token
        if token.kind != "name" or token.text.lower() not in _INTO:
            return False
        after = self._tokens[self._next + 1]
        if after.kind != "name" or after.text.lower() not in _INTO:
            return after.kind == "name"
        inches = self._tokens[self._next + 2].kind == "end"
        return inches and self._tokens[self._next - 1].kind == "name"

    def _call(self) -> Quantity:
        place = self._next
        name = self._token.text.lower()
        self._next += 1
        if self._takes("("):
            values = [self._expression()]
            while self._takes(","):
                values.append(self._expression())
            self._close()
        else:
            values = [self._atom()]
        least, most, function = _FUNCTIONS[name]
        if not least <= len(values) <= most:
            self._fail(f"{name} takes {least if len(values) < least else most} values", place)
        return self._at(place, lambda: function(*values))

    def _close(self) -> None:
        if not self._takes(")"):
            self._fail('a ")" is missing here')

    def _begins_value(self, index: int) -> bool:
        token = self._tokens[index]
        if token.kind == "name":
            return token.text.lower() not in _INTO
        return token.kind == "number" or token.text in ("(", "sqrt", "cbrt")

    def _is_percent(self, begin: int) -> bool:
        """Whether what was read from there on is a number and "%", and nothing else."""
        return self._next == begin + 2 and self._tokens[begin + 1].text == "%"

    def _deeper(self) -> int:
        before = self._depth
        self._depth += 1
        if self._depth > MOST_DEPTH:
            self._fail(f"the expression is nested more than {MOST_DEPTH} deep")
        return before

    def _at(self, index: int, compute: Callable[..., _T], *values: object) -> _T:
        """What `compute` gives for the values; its errors get the place."""
        try:
            return compute(*values)
        except ParameterError as error:
            self._fail(str(error), index)

    def _fail(self, what: str, index: int | None = None) -> NoReturn:
        token = self._tokens[self._next if index is None else index]
        if token.kind == "end":
            raise ParameterError(f"{what}, at the end of {self._text.strip()[-40:]!r}")
        rest = self._text[token.place :][:20].rstrip()
        raise ParameterError(f"{what}, at character {token.place + 1} ({rest!r})") from None


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    brackets: list[bool] = []
    place = 0
    while not found or found[-1].kind != "end":
        match = _TOKEN.match(text, place)
        assert match is not None
        kind = str(match.lastgroup)
        token = match[kind]
        start = match.start(kind)
        if kind == "number" and brackets and brackets[-1]:
            plain = _PLAIN_NUMBER.match(text, start)
            assert plain is not None
            token = plain[0]
        elif kind == "sign":
            token = _SIGNS[" ".join(token.lower().split())]
            if token == "(":
                before = found[-1].text.lower() if found else ""
                brackets.append(before in _FUNCTIONS)
            elif token == ")" and brackets:
                brackets.pop()
        elif kind == "name":
            # "degrees C" is C, "nautical miles" nautical_miles.
            token = re.sub(r"(?i)^degrees?\s+", "", token).replace(" ", "_").replace("-", "_")
        elif kind == "other":
            raise ParameterError(f"{token!r} means nothing here, at character {start + 1}")
        place = start + len(token) if kind == "number" else match.end()
        found.append(_Token(kind, token, start))
    return found


_TEN = Number(Fraction(10))


def _factorial(quantity: Quantity) -> Quantity:
    return Quantity(numbers.factorial(_plain(quantity)))


def _plain(quantity: Quantity) -> Number:
    if quantity.unit is not None:
        raise ParameterError(f"{quantity} has a unit, and a plain number is wanted")
    return quantity.number


def _whole(of: Callable[[Fraction], int]) -> Callable[[Quantity], Quantity]:
    return lambda q: Quantity(Number(Fraction(of(q.number.value)), q.number.exact), q.unit)


def _round(q: Quantity, places: Quantity | None = None) -> Quantity:
    """Rounded half away from zero, as it is taught."""
    count = 0 if places is None else int(_plain(places).value)
    if not -50 <= count <= 50:
        raise ParameterError("round takes -50 to 50 places")
    scale = Fraction(10) ** count
    value = Fraction(math.floor(abs(q.number.value) * scale + Fraction(1, 2))) / scale
    return Quantity(Number(value if q.number.value >= 0 else -value), q.unit)


def _quotient(operation: Callable[[Number, Number], Number]) -> Callable[..., Quantity]:
    """Floor division and remainder: of plain numbers, or of quantities of one dimension."""

    def divided(a: Quantity, b: Quantity) -> Quantity:
        if a.unit is not None and b.unit is not None:
            b = units.convert(b, a.unit)
            keeps = operation is numbers.remainder
            return Quantity(operation(a.number, b.number), a.unit if keeps else None)
        return Quantity(operation(_plain(a), _plain(b)))

    return divided


def _extreme(choose: Callable[[Number, Number], bool]) -> Callable[..., Quantity]:
    def extreme(*values: Quantity) -> Quantity:
        best = values[0]
        for value in values[1:]:
            difference = units.subtract(value, best).number
            best = value if choose(difference, Number(Fraction(0))) else best
        return best

    return extreme


def _total(*values: Quantity) -> Quantity:
    found = values[0]
    for value in values[1:]:
        found = units.add(found, value)
    return found


def _integers(function: Callable[..., int]) -> Callable[..., Quantity]:
    def of(*values: Quantity) -> Quantity:
        plain = [_plain(value).value for value in values]
        if any(value.denominator != 1 for value in plain):
            raise ParameterError(f"{function.__name__} takes whole numbers")
        return Quantity(Number(Fraction(function(*map(int, plain)))))

    return of


def _of_angle(function: Callable[[float], float]) -> Callable[[Quantity], Quantity]:
    def of(angle: Quantity) -> Quantity:
        if angle.unit is not None:
            angle = units.convert(angle, units.unit("radian"))
        return Quantity(numbers.by_float(function, angle.number))

    return of


def _of_number(function: Callable[..., Number]) -> Callable[..., Quantity]:
    return lambda *values: Quantity(function(*map(_plain, values)))


_PRODUCTS: Mapping[str, Callable[[Quantity, Quantity], Quantity]] = {
    "*": units.multiply,
    "of": units.multiply,
    "/": units.divide,
    "//": _quotient(numbers.floor_divide),
    "%": _quotient(numbers.remainder),
    "mod": _quotient(numbers.remainder),
}
#: The least and the most values that a function takes, and what it does with them.
_FUNCTIONS: Mapping[str, tuple[int, int, Callable[..., Quantity]]] = {
    "sqrt": (1, 1, lambda q: units.root(q, 2)),
    "cbrt": (1, 1, lambda q: units.root(q, 3)),
    "abs": (1, 1, lambda q: Quantity(Number(abs(q.number.value), q.number.exact), q.unit)),
    "round": (1, 2, _round),
    "floor": (1, 1, _whole(math.floor)),
    "ceil": (1, 1, _whole(math.ceil)),
    "min": (1, 100, _extreme(lambda difference, zero: difference.value < zero.value)),
    "max": (1, 100, _extreme(lambda difference, zero: difference.value > zero.value)),
    "sum": (1, 100, _total),
    "mean": (1, 100, lambda *v: units.divide(_total(*v), Quantity(Number(Fraction(len(v)))))),
    "gcd": (1, 100, _integers(math.gcd)),
    "lcm": (1, 100, _integers(math.lcm)),
    "ln": (1, 1, _of_number(numbers.logarithm)),
    "log": (1, 2, _of_number(lambda n, b=_TEN: numbers.logarithm(n, b))),
    "exp": (1, 1, _of_number(numbers.exponential)),
    "sin": (1, 1, _of_angle(math.sin)),
    "cos": (1, 1, _of_angle(math.cos)),
    "tan": (1, 1, _of_angle(math.tan)),
    "asin": (1, 1, _of_number(lambda n: numbers.by_float(math.asin, n))),
    "acos": (1, 1, _of_number(lambda n: numbers.by_float(math.acos, n))),
    "atan": (1, 1, _of_number(lambda n: numbers.by_float(math.atan, n))),
}
