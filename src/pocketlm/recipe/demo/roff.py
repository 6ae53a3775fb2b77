"""The text of a manual page, from its roff source.

A page is a program of troff's; what is read here are the requests and macros that pages are written
with (man(7), mdoc(7), tbl(1) as rows). Paragraphs come out on one line each, as a browser would show
them. It knows no page widths and no fonts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_GLYPHS = {
    "aq": "'",
    "dq": '"',
    "oq": "'",
    "cq": "'",
    "lq": '"',
    "rq": '"',
    "em": " - ",
    "en": "-",
    "hy": "-",
    "bu": "*",
    "co": "(C)",
    "rg": "(R)",
    "rs": "\\",
    "ha": "^",
    "ti": "~",
    "ga": "`",
    "at": "@",
    "sh": "#",
    "Do": "$",
    "lB": "[",
    "rB": "]",
    "lC": "{",
    "rC": "}",
    "ba": "|",
    "sl": "/",
    "mu": "x",
    "->": "->",
    "<-": "<-",
    "<=": "<=",
    ">=": ">=",
    "+-": "+/-",
    "pl": "+",
    "mi": "-",
    "eq": "=",
    "de": " degrees",
    "ss": "ß",
    "Aq": "'",
    "dg": "+",
    "sc": "§",
}
_ESCAPE = re.compile(
    r"\\(?:"
    r"(?P<comment>[\"#].*)"
    r"|f(?:\[[^\]]*\]|\(..|.)"
    r"|s(?:[-+]?\d|[-+]?\[[^\]]*\]|\([-+]?\d\d)"
    r"|[*n](?:\[(?P<string3>[^\]]*)\]|\((?P<string2>..)|(?P<string1>.))"
    r"|\[(?P<long>[^\]]*)\]"
    r"|\((?P<glyph>..)"
    r"|[vhwlLDZXbox]'[^']*'"
    r"|(?P<one>.)?)"
)
_PARAGRAPH = {"PP", "P", "LP", "HP", "Pp", "sp", "br", "RS", "RE", "Bd", "Ed", "Bl", "El", "IP"}
_INLINE = {"B", "I", "R", "BR", "RB", "BI", "IB", "IR", "RI", "SM", "SB"}
_NO_TEXT = {
    "TH",
    "Dt",
    "Dd",
    "Os",
    "ds",
    "nr",
    "ie",
    "el",
    "if",
    "de",
    "so",
    "ft",
    "ad",
    "na",
    "nh",
}
_NO_TEXT |= {"hy", "in", "ti", "ta", "tr", "ne", "rm", "ps", "pc", "PD", "UE", "ME", "SY", "YS"}
_NO_TEXT |= {"DT", "it", "cs", "ss", "ev", "di", "fi", "nf", "EX", "EE", "hw", "bp", "ll", "mso"}
_PUNCTUATION = re.compile(r"^[.,:;()\[\]?!]+$")


def text_of(source: str) -> str:
    """The paragraphs of a manual page, an empty line between them; its headings in capitals."""
    return "\n\n".join(_paragraphs(source.splitlines()))


def _paragraphs(lines: list[str]) -> Iterator[str]:
    held: list[str] = []
    filled, table, skipping, tag, depth = True, False, "", False, 0

    def close() -> Iterator[str]:
        joined = ("\n" if not filled else " ").join(held)
        held.clear()
        if joined.strip():
            yield joined.strip("\n") if not filled else " ".join(joined.split())

    for line in lines:
        if skipping:
            skipping = "" if line.strip() == skipping else skipping
            continue
        if depth:
            depth += line.count("\\{") - line.count("\\}")
            continue
        if not line.startswith((".", "'")):
            words = plain(line)
            if not filled:
                held.append(words)
            elif table:
                held.append(words.replace("\t", "  "))
            elif not words.strip():
                yield from close()
            else:
                held.append(words)
                if tag and held:
                    tag = False
                    held[-1] += ":"
            continue
        name, _, rest = line[1:].lstrip().partition(" ")
        if name in ("ie", "if", "el", "while"):
            depth = max(0, line.count("\\{") - line.count("\\}"))
        elif name in ("de", "am", "ig", "de1"):
            skipping = "." + (rest.split()[1] if len(rest.split()) > 1 else ".")
        elif name in ("SH", "Sh", "SS", "Ss"):
            yield from close()
            filled = True
            if heading := " ".join(_arguments(rest)):
                yield heading.upper() if name in ("SH", "Sh") else heading
        elif name in ("nf", "EX", "TS") or (name == "Bd" and "-literal" in rest):
            yield from close()
            filled, table = False, name == "TS"
        elif name in ("fi", "EE", "TE", "Ed"):
            yield from close()
            filled, table = True, False
        elif name in ("TP", "TQ"):
            yield from close()
            tag = True
        elif name in ("It", "IP"):
            yield from close()
            words = _arguments(rest)
            if name == "IP":
                words = words[:1]
            if said := " ".join(words).strip():
                held.append(said if said in ("*", "o", "-") else said + ":")
        elif name in _PARAGRAPH:
            if filled:
                yield from close()
        elif name in _INLINE:
            words = _arguments(rest)
            said = ("" if len(name) == 2 and name not in ("SM", "SB") else " ").join(words)
            if said:
                held.append(said + (":" if tag else ""))
                tag = False
        elif name in ("UR", "MT"):
            held.extend(_arguments(rest)[:1])
        elif name in ("Nd",):
            held.append("- " + " ".join(_arguments(rest)))
        elif name not in _NO_TEXT and name[:1].isupper():
            words = [each for each in _arguments(rest) if each not in _MDOC]
            said = _joined(words)
            if said:
                held.append(said + (":" if tag else ""))
                tag = False
    yield from close()


_MDOC = {
    "Ar",
    "Fl",
    "Op",
    "Cm",
    "Pa",
    "Sq",
    "Dq",
    "Em",
    "Li",
    "Ns",
    "Xr",
    "Ic",
    "Va",
    "Ev",
    "Sy",
    "Ql",
}
_MDOC |= {
    "Nm",
    "Ta",
    "Bq",
    "Pq",
    "Aq",
    "No",
    "Oo",
    "Oc",
    "Po",
    "Pc",
    "Dv",
    "Er",
    "Fn",
    "Ft",
    "Fa",
    "Vt",
}


def _joined(words: list[str]) -> str:
    said = ""
    for word in words:
        said += word if _PUNCTUATION.match(word) or not said else " " + word
    return said


def _arguments(rest: str) -> list[str]:
    """A macro's arguments: words, or what is between quotes."""
    found = re.findall(r'"((?:[^"]|"")*)"|(\S+)', rest.split('\\"')[0])
    return [plain(quoted or bare) for quoted, bare in found]


def plain(line: str) -> str:
    """A line without escapes."""
    return _ESCAPE.sub(_escape, line)


def _escape(match: re.Match[str]) -> str:
    found = match.groupdict()
    if found["comment"] is not None:
        return ""
    for name in ("glyph", "long", "string1", "string2", "string3"):
        if (glyph := found[name]) is not None:
            if glyph.startswith("u") and len(glyph) == 5:
                try:
                    return chr(int(glyph[1:], 16))
                except ValueError:
                    return ""
            return _GLYPHS.get(glyph, "")
    return {"-": "-", "e": "\\", " ": " ", "~": " ", "0": " ", "'": "'", "`": "`", ".": "."}.get(
        found["one"] or "", ""
    )
