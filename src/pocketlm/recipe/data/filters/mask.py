"""What points at a person, masked: addresses and numbers become examples of their kind.

The examples are those set aside for it (RFC 2606, RFC 5737, RFC 3849, 555-01xx), so that text stays
text, and masking what is masked changes nothing. datatrove's own formatter knows e-mail and IPv4
alone, and puts addresses in their place that belong to somebody.

It knows forms, not names: who is meant it cannot tell.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence

from datatrove.pipeline.formatters.base import BaseFormatter

EXAMPLES = {
    "email": "name@example.com",
    "ip": "192.0.2.1",
    "card": "0000 0000 0000 0000",
    "iban": "XX00 0000 0000 0000",
    "phone": "555-0100",
}
_EXAMPLE_IPV6 = "2001:db8::1"

_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-]|\.\w)", re.UNICODE
)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d|\.\w)")
#: Only 2000::/3 is given out to anybody; the rest is other people's code (`a::b`).
_IPV6 = re.compile(
    r"(?<![\w:.])[23][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![\w:])"
)
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
_PHONE = re.compile(
    r"(?<![\w.+/-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}"
    r"|\(\d{3}\) ?\d{3}-\d{4}|\d{3}[-.]\d{3}[-.]\d{4})(?![\w-]|\.\d)"
)


class Mask(BaseFormatter):  # type: ignore[misc]
    """Masks the `kinds` wanted, and counts them."""

    name = "mask"

    def __init__(self, kinds: Sequence[str]) -> None:
        """Mask `kinds` of EXAMPLES."""
        super().__init__()
        self._kinds = tuple(kinds)

    def format(self, text: str) -> str:
        """The text with examples in the place of what was found."""
        text, found = mask(text, self._kinds)
        for kind, times in found.items():
            self.stat_update(f"masked {kind}", value=times)
        return text


def mask(text: str, kinds: Sequence[str]) -> tuple[str, dict[str, int]]:
    """The text masked, and how often each kind was found."""
    found: dict[str, int] = {}
    for kind in EXAMPLES:
        if kind not in kinds:
            continue
        for pattern, example_of in _RULES[kind]:
            text, times = _replaced(text, pattern, example_of)
            if times:
                found[kind] = found.get(kind, 0) + times
    return text, found


def _replaced(
    text: str, pattern: re.Pattern[str], example_of: Callable[[str], str | None]
) -> tuple[str, int]:
    times = 0

    def example(match: re.Match[str]) -> str:
        nonlocal times
        put = example_of(match[0])
        if put is None or put == match[0]:
            return match[0]
        times += 1
        return put

    return pattern.sub(example, text), times


def _ip(text: str) -> str | None:
    """The example for a public address; private and reserved ones point at nobody."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if not address.is_global:
        return None
    return EXAMPLES["ip"] if address.version == 4 else _EXAMPLE_IPV6


def _card(text: str) -> str | None:
    """The example for a number with a sound check digit (Luhn)."""
    digits = [int(char) for char in text if char.isdecimal()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    if not any(digits) or (sum(digits[-1::-2]) + sum(doubled)) % 10:
        return None
    return EXAMPLES["card"]


def _iban(text: str) -> str | None:
    """The example for an account with sound check digits (ISO 7064)."""
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return None
    number = "".join(str(int(char, 36)) for char in plain[4:] + plain[:4])
    return EXAMPLES["iban"] if int(number) % 97 == 1 else None


def _phone(text: str) -> str | None:
    """The example for 7 to 15 digits (E.164)."""
    digits = sum(char.isdecimal() for char in text)
    return EXAMPLES["phone"] if 7 <= digits <= 15 else None


_RULES: dict[str, tuple[tuple[re.Pattern[str], Callable[[str], str | None]], ...]] = {
    "email": ((_EMAIL, lambda _: EXAMPLES["email"]),),
    "ip": ((_IPV4, _ip), (_IPV6, _ip)),
    "card": ((_CARD, _card),),
    "iban": ((_IBAN, _iban),),
    "phone": ((_PHONE, _phone),),
}
