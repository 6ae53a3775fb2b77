"""Writes unicode_tables.h: what Unicode says of characters, as the `tokenizers` library knows it.

It asks the library itself, whose parts follow different versions of Unicode: Oniguruma's for
patterns, Rust's for digits, a third one for normalization. Only the numbers of canonical ordering
and the single steps of decomposition come from Python; both are stable once a character has them
(Unicode Standard Annex 15, section 3). The runtime does not import this module.

    python src/pocketlm/pocket/unicode_tables.py
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from tokenizers import Regex, normalizers, pre_tokenizers

CODES = [*range(0xD800), *range(0xE000, 0x110000)]
#: In the order of `CharacterClass` in unicode.h.
CLASSES = ("other", "space", "upper", "lower", "caseless", "mark", "number", "digit")
_BLOCK = 4096
_SBASE, _SCOUNT = 0xAC00, 11172  # Hangul syllables, which are computed


def _members(pattern: str) -> set[int]:
    """The characters that a pattern of one character matches."""
    split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    found: set[int] = set()
    for begin in range(0, len(CODES), _BLOCK):
        for piece, _ in split.pre_tokenize_str("".join(map(chr, CODES[begin : begin + _BLOCK]))):
            found.update(map(ord, piece))
    return found


def _digits() -> set[int]:
    """The characters that the component Digits sets apart."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    return {code for code in CODES if len(digits.pre_tokenize_str(f"a{chr(code)}")) == 2}


def classes() -> dict[int, str]:
    """The class of each character that is not `other`, by its name in unicode.h."""
    letters = {"upper": r"[\p{Lu}\p{Lt}]", "lower": r"\p{Ll}", "caseless": r"[\p{Lm}\p{Lo}]"}
    found = {
        code: name
        for name, pattern in {
            **letters,
            "space": r"\s",
            "mark": r"\p{M}",
            "number": r"\p{N}",
        }.items()
        for code in _members(pattern)
    }
    digits = _digits()
    assert {code for code, name in found.items() if name == "number"} <= digits
    for code in digits:
        if found.setdefault(code, "digit") not in ("digit", "number"):
            raise AssertionError(f"U+{code:04X} is a digit and {found[code]}")
    return found


def decompositions() -> dict[int, tuple[int, int]]:
    """Canonical decompositions of one step into one character (and 0) or two; without Hangul."""
    nfd = normalizers.NFD()
    full = {
        code: text
        for code in CODES
        if not _SBASE <= code < _SBASE + _SCOUNT
        and (text := nfd.normalize_str(chr(code))) != chr(code)
    }
    steps: dict[int, tuple[int, int]] = {}
    for code, text in full.items():
        parts = [int(part, 16) for part in unicodedata.decomposition(chr(code)).split()]
        assert "".join(full.get(part, chr(part)) for part in parts) == text, f"U+{code:04X}"
        assert len(parts) == 1 or parts[1] not in full, f"U+{code:04X}"
        steps[code] = (parts[0], parts[1] if len(parts) == 2 else 0)
    return steps


def compositions(steps: dict[int, tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Which pairs become one character in NFC; without Hangul."""
    nfc = normalizers.NFC()
    return {
        pair: code
        for code, pair in steps.items()
        if pair[1] and nfc.normalize_str(chr(pair[0]) + chr(pair[1])) == chr(code)
    }


def orders() -> dict[int, int]:
    """The combining class of each mark that the library puts into order."""
    nfd = normalizers.NFD()

    def moves(code: int) -> bool:
        # U+0334 has class 1, the lowest; U+0345 has 240, the highest.
        high, low = f"{chr(code)}\u0334", f"\u0345{chr(code)}"
        return nfd.normalize_str(high) != high or nfd.normalize_str(low) != low

    classes = ((code, unicodedata.combining(chr(code))) for code in CODES)
    return {code: order for code, order in classes if order and moves(code)}


def _runs(values: Mapping[int, int]) -> Iterator[int]:
    """Where the value (0 if none) changes, and to what: `code << 8 | value`."""
    last = -1
    for code in range(0x110000):
        here = values.get(code, 0)
        if here != last:
            yield code << 8 | here
        last = here


def _array(name: str, type: str, numbers: Iterable[int], comment: str) -> str:
    lines, line = [], "   "
    for word in (f"0x{number:x}," for number in numbers):
        if len(line) + 1 + len(word) > 110:
            lines.append(line)
            line = "   "
        line += f" {word}"
    body = "\n".join([*lines, line])
    return f"\n// {comment}\nconstexpr {type} {name}[] = {{\n{body}\n}};\n"


def header() -> str:
    """The text of unicode_tables.h."""
    named = {code: CLASSES.index(name) for code, name in classes().items()}
    steps = decompositions()
    pairs = compositions(steps)
    return (
        f"// Written by unicode_tables.py from `tokenizers` {version('tokenizers')}; not by hand.\n"
        "#pragma once\n\n#include <cstdint>\n\nnamespace pocketlm::unicode {\n"
        + _array(
            "class_runs",
            "uint32_t",
            _runs(named),
            "Where the class of characters changes: code << 8 | class.",
        )
        + _array(
            "order_runs",
            "uint32_t",
            _runs(orders()),
            "Where the canonical combining class changes: code << 8 | class.",
        )
        + _array(
            "decompositions",
            "uint64_t",
            (code << 42 | first << 21 | second for code, (first, second) in sorted(steps.items())),
            "One step of each canonical decomposition: code << 42 | first << 21 | second or 0.",
        )
        + _array(
            "compositions",
            "uint64_t",
            (first << 42 | second << 21 | code for (first, second), code in sorted(pairs.items())),
            "Pairs that become one character: first << 42 | second << 21 | code.",
        )
        + "\n}  // namespace pocketlm::unicode\n"
    )


if __name__ == "__main__":
    Path(__file__).with_name("unicode_tables.h").write_text(header(), encoding="ascii")
