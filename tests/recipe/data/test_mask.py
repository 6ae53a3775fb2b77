"""What points at a person is masked; everything else stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlm.recipe.data.filters.mask import EXAMPLES, Mask, mask

ALL = tuple(EXAMPLES)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to anna.berg+news@mail.uni-x.de today.", "Write to name@example.com today."),
        ("mailto:joe@firm.com,ann@firm.com", "mailto:name@example.com,name@example.com"),
        ("grüße an jürgen@bücher.de!", "grüße an name@example.com!"),
        ("The server 8.8.8.8 answered.", "The server 192.0.2.1 answered."),
        ("DNS 2606:4700:4700::1111, fast", "DNS 2001:db8::1, fast"),
        ("Call +49 30 1234567 now", "Call 555-0100 now"),
        ("Call (212) 555-7890 or 212-555-7891.", "Call 555-0100 or 555-0100."),
        ("card 4111 1111 1111 1111, thanks", "card 0000 0000 0000 0000, thanks"),
        ("card 4111111111111111.", "card 0000 0000 0000 0000."),
        ("IBAN DE89 3704 0044 0532 0130 00", "IBAN XX00 0000 0000 0000"),
        ("IBAN GB82WEST12345698765432;", "IBAN XX00 0000 0000 0000;"),
    ],
)
def test_what_points_at_somebody(text: str, masked: str) -> None:
    assert mask(text, ALL)[0] == masked


@pytest.mark.parametrize(
    "text",
    [
        "The router is 192.168.0.1 and the loop 127.0.0.1, or ::1 and fe80::1.",
        "Version 1.2.3.4.5 and section 10.2.3 of 3.11.4",
        "From 1914-1918 to 1939-1945, and 2026-11-29 12:30:00",
        "pi is 3.14159265358979 and 1,234,567 people, 1 234 567 more",
        "a @ b, @handle, user@localhost, a::b, std::vector, 12:30:59",
        "4111 1111 1111 1112 has a wrong digit, 0000 0000 0000 0000 is nothing",
        "ISBN 978-3-16-148410-0, code DE00 0000 0000 0000 0000 00",
        "x = f(2, 3); y[10:20] = 100-200-300",
    ],
)
def test_what_points_at_nobody_stays(text: str) -> None:
    assert mask(text, ALL) == (text, {})


def test_only_what_is_wanted_is_masked() -> None:
    text = "joe@firm.com at 8.8.8.8"
    assert mask(text, ("ip",)) == ("joe@firm.com at 192.0.2.1", {"ip": 1})


def test_the_step_counts_what_it_masks() -> None:
    step = Mask(ALL)
    step.format("joe@firm.com, ann@firm.com, 8.8.8.8")
    assert step.stats["masked email"].total == 2
    assert step.stats["masked ip"].total == 1


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=60)
local = st.from_regex(r"[a-z0-9]([a-z0-9._+-]{0,20}[a-z0-9])?", fullmatch=True)
domain = st.from_regex(r"([a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?\.){1,3}[a-z]{2,10}", fullmatch=True)


@settings(max_examples=300)
@given(st.lists(st.one_of(words, st.sampled_from(list(EXAMPLES.values()))), max_size=6))
def test_masking_again_changes_nothing(pieces: list[str]) -> None:
    once, _ = mask(" ".join(pieces), ALL)
    assert mask(once, ALL) == (once, {})


@settings(max_examples=300)
@given(before=words, local=local, domain=domain, after=words)
def test_no_address_is_left(before: str, local: str, domain: str, after: str) -> None:
    address = f"{local}@{domain}"
    masked, found = mask(f"{before} {address} {after}", ALL)
    assert found["email"] >= 1
    assert f" {address} " not in f" {masked} " or address == EXAMPLES["email"]


@settings(max_examples=300)
@given(
    before=words,
    address=st.ip_addresses(v=4) | st.ip_addresses(v=6, network="2000::/3"),
    after=words,
)
def test_no_public_address_is_left(before: str, address: object, after: str) -> None:
    text = f"{before} {address} {after}"
    masked, _ = mask(text, ("ip",))
    public = address.is_global  # type: ignore[attr-defined]
    assert (f" {address} " in f" {masked} ") == (not public or f" {address} " in f"{before} ")


@settings(max_examples=300)
@given(words)
def test_what_is_between_stays(text: str) -> None:
    masked, found = mask(text, ALL)
    if not found:
        assert masked == text


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text", ["1" * 200_000, "a." * 100_000 + "@", "1-" * 100_000, ":" * 200_000, "A1 " * 70_000]
)
def test_no_text_takes_long(text: str) -> None:
    mask(text, ALL)
