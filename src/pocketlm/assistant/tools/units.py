"""Quantities: numbers with units, which are converted exactly and checked for their dimensions.

Pint knows the units; it is given one name at a time, and never an expression. Which of its
thousands of names are taken is said here: with prefixes and plurals, "cats" would be a pressure.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from pocketlm.assistant.tools import numbers
from pocketlm.assistant.tools.numbers import Number
from pocketlm.errors import ParameterError

if TYPE_CHECKING:
    import pint

#: Units as pint calls them; those that take prefixes take them (km, MB).
_NAMES = """
    meter inch foot yard mile nautical_mile astronomical_unit light_year parsec angstrom
    gram metric_ton pound ounce stone ton long_ton grain carat second minute hour day week
    fortnight month year decade century kelvin degree_Celsius degree_Fahrenheit
    degree_Rankine delta_degree_Celsius delta_degree_Fahrenheit liter gallon quart pint cup
    fluid_ounce tablespoon teaspoon imperial_gallon imperial_pint acre hectare newton
    pound_force dyne joule calorie watt_hour british_thermal_unit electron_volt erg watt
    horsepower pascal bar standard_atmosphere pound_force_per_square_inch millimeter_Hg torr
    ampere volt ohm farad coulomb henry weber tesla siemens mole candela hertz radian degree
    arcminute arcsecond turn bit byte
"""
_KNOWN = frozenset(_NAMES.split())
_UNPREFIXED = frozenset({"minute", "hour", "day", "week", "foot", "inch", "degree", "pint"})
_ALIASES: Mapping[str, str] = {
    "C": "degC", "°C": "degC", "F": "degF", "°F": "degF", "°": "degree", "deg": "degree",
    "kb": "kilobit", "Mb": "megabit", "Gb": "gigabit", "hp": "horsepower", "cc": "mL",
    "ml": "mL", "l": "L", "atm": "standard_atmosphere", "au": "astronomical_unit",
}  # fmt: skip
#: Speeds by their own names are distances by times, so that times cancel.
_COMPOUND: Mapping[str, tuple[str, str]] = {
    "mph": ("mile", "hour"), "kph": ("kilometer", "hour"), "kmh": ("kilometer", "hour"),
    "knot": ("nautical_mile", "hour"), "knots": ("nautical_mile", "hour"),
}  # fmt: skip
_SYMBOLS: Mapping[str, str] = {
    "degree_Celsius": "°C", "degree_Fahrenheit": "°F", "delta_degree_Celsius": "°C",
    "delta_degree_Fahrenheit": "°F", "month": "months", "year": "years", "day": "days",
    "week": "weeks", "inch": "in", "degree": "°", "liter": "L", "milliliter": "mL",
    "hour": "h", "minute": "min", "pound_force_per_square_inch": "psi", "cup": "cups",
}  # fmt: skip
_MOST_POWER = 12
#: Pint writes dimensions in brackets.
_BARE = str.maketrans("", "", "[]")


@functools.cache
def _registry() -> pint.UnitRegistry[Any]:
    import pint

    return pint.UnitRegistry(non_int_type=Fraction)


def unit(name: str) -> Any:  # noqa: ANN401 (pint's classes are made for each registry)
    """The unit of a name or symbol, perhaps with a prefix or in the plural; None if unknown."""
    if name in _COMPOUND:
        above, below = _COMPOUND[name]
        return unit(above) / unit(below)
    name = _ALIASES.get(name, name)
    for written in dict.fromkeys((name, name.lower())):
        for prefix, root, _ in _registry().parse_unit_name(written):
            if root in _KNOWN and not (prefix and root in _UNPREFIXED):
                return _registry().Unit(prefix + root)
    return None


def symbols(unit: Any) -> str:  # noqa: ANN401
    """A unit as people write it: "m", "km/h", "m/s^2"."""
    registry = _registry()
    return _product({_SYMBOLS.get(n) or registry.get_symbol(n): p for n, p in unit._units.items()})


def _product(powers: Mapping[str, Fraction]) -> str:
    above = [
        f"{name}^{power}" if power != 1 else name for name, power in powers.items() if power > 0
    ]
    below = [
        f"/{name}^{-power}" if power != -1 else f"/{name}"
        for name, power in powers.items()
        if power < 0
    ]
    return "·".join(above or ["1"]) + "".join(below)


@dataclass(frozen=True)
class Quantity:
    """A number with a unit of pint's, or (None) without one."""

    number: Number
    unit: Any = None

    def __str__(self) -> str:
        """The number, then the unit's symbols: "5 m/s^2"."""
        return str(self.number) if self.unit is None else f"{self.number} {symbols(self.unit)}"


def convert(quantity: Quantity, target: Any) -> Quantity:  # noqa: ANN401
    """The same quantity in another unit. Raises ParameterError where the dimensions differ."""
    if quantity.unit is None:
        raise ParameterError(f"{quantity} has no unit, so it cannot become {symbols(target)}")
    found = _pint(lambda: _of(quantity).to(target))
    # Half a turn is π radians, which pint has to 50 digits.
    exact = ("radian" in quantity.unit._units) == ("radian" in target._units)
    exact = exact and quantity.number.exact
    return Quantity(Number(Fraction(found.magnitude), exact), target)


def add(a: Quantity, b: Quantity) -> Quantity:
    """a + b, in a's unit."""
    return _sum(a, b, "+")


def subtract(a: Quantity, b: Quantity) -> Quantity:
    """a - b, in a's unit; between two temperatures lie degrees."""
    return _sum(a, b, "-")


def multiply(a: Quantity, b: Quantity) -> Quantity:
    """a · b; a unit that is left of another one of its dimension becomes that."""
    if a.unit is None and b.unit is None:
        return Quantity(numbers.multiply(a.number, b.number))
    return _reduced(a, b, lambda x, y: x * y)


def divide(a: Quantity, b: Quantity) -> Quantity:
    """a / b; see `multiply`."""
    if b.number.value == 0:
        raise ParameterError("division by zero")
    if a.unit is None and b.unit is None:
        return Quantity(numbers.divide(a.number, b.number))
    return _reduced(a, b, lambda x, y: x / y)


def power(base: Quantity, exponent: Number) -> Quantity:
    """The base to the power of a number; a whole one, up to 12, where the base has a unit."""
    if base.unit is None:
        return Quantity(numbers.power(base.number, exponent))
    if exponent.value.denominator != 1 or abs(exponent.value) > _MOST_POWER:
        raise ParameterError(f"a unit's power is a whole number up to {_MOST_POWER}")
    raised = _pint(lambda: _registry().Quantity(1, base.unit) ** int(exponent.value))
    return Quantity(numbers.power(base.number, exponent), raised.units)


def root(quantity: Quantity, degree: int) -> Quantity:
    """The root of that degree, of a unit too: of m^2 it is m."""
    number = numbers.root(quantity.number, degree)
    if quantity.unit is None:
        return Quantity(number)
    powers = {name: Fraction(n) / degree for name, n in quantity.unit._units.items()}
    if any(n.denominator != 1 for n in powers.values()):
        raise ParameterError(f"{symbols(quantity.unit)} has no such root")
    taken = _registry().Unit("")
    for name, n in powers.items():
        taken *= _registry().Unit(name) ** int(n)
    return Quantity(number, taken)


def _sum(a: Quantity, b: Quantity, sign: str) -> Quantity:
    operation = numbers.add if sign == "+" else numbers.subtract
    if a.unit is None and b.unit is None:
        return Quantity(operation(a.number, b.number))
    if a.unit is None or b.unit is None:
        raise ParameterError(f"{a} {sign} {b}: only one of the two has a unit")
    found = _pint(lambda: _of(a) + _of(b) if sign == "+" else _of(a) - _of(b))
    return Quantity(
        Number(Fraction(found.magnitude), a.number.exact and b.number.exact), found.units
    )


def _reduced(a: Quantity, b: Quantity, operation: Callable[[Any, Any], Any]) -> Quantity:
    found = _pint(lambda: operation(_of(a), _of(b)).to_reduced_units())
    number = Number(Fraction(found.magnitude), a.number.exact and b.number.exact)
    return Quantity(number, found.units if found.units._units else None)


def _of(quantity: Quantity) -> Any:  # noqa: ANN401
    return _registry().Quantity(quantity.number.value, quantity.unit)


def _pint(compute: Callable[[], Any]) -> Any:  # noqa: ANN401
    """What pint computes, or what it objects to as a ParameterError."""
    import pint

    try:
        return compute()
    except pint.DimensionalityError as error:
        sides: Any = ((error.units1, error.dim1), (error.units2, error.dim2))
        given, wanted = (
            f"{symbols(_registry().Unit(unit))} ({_product(dict(dimensions)).translate(_BARE)})"
            for unit, dimensions in sides
        )
        raise ParameterError(f"{given} and {wanted} have different dimensions") from None
    except pint.OffsetUnitCalculusError:
        raise ParameterError(
            "temperatures in °C and °F are converted and subtracted, not added or multiplied;"
            " use K for that"
        ) from None
