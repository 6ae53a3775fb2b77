"""The text of a manual page, from its roff source.

A page is a program of troff's. What is read here are the macros that pages are written with,
man(7) and mdoc(7), and the requests that fill lines or leave them as they are; definitions and
conditions are passed over. A paragraph comes out on one line, as a browser would show it, and what
stands beside an indented one before it, with a colon. It knows no page widths and no fonts.
"""

from __future__ import annotations

import re
import unicodedata

_GLYPHS = {"aq": "'", "dq": '"', "oq": "'", "cq": "'", "lq": '"', "rq": '"', "Aq": "'"}
_GLYPHS |= {"em": " - ", "en": "-", "hy": "-", "mi": "-", "pl": "+", "+-": "+/-", "eq": "="}
_GLYPHS |= {"bu": "*", "co": "(C)", "rg": "(R)", "sc": "§", "ss": "ß", "de": " degrees"}
_GLYPHS |= {"rs": "\\", "sl": "/", "ba": "|", "ha": "^", "ti": "~", "ga": "`", "at": "@"}
_GLYPHS |= {"sh": "#", "Do": "$", "lB": "[", "rB": "]", "lC": "{", "rC": "}", "mu": "x"}
_GLYPHS |= {each: each for each in ("->", "<-", "<=", ">=")}
_ACCENTS = {"'": "\u0301", "`": "\u0300", "^": "\u0302", ":": "\u0308", "~": "\u0303"}
_ACCENTS |= {",": "\u0327", "o": "\u030a"}
_SIGNS = {"-": "-", "e": "\\", " ": " ", "~": " ", "0": " ", "'": "'", "`": "`", ".": "."}
_ESCAPE = re.compile(
    r"\\(?:"
    r"[\"#].*"  # a comment
    r"|f(?:\[[^\]]*\]|\(..|.)|s(?:[-+]?\d|[-+]?\[[^\]]*\]|\([-+]?\d\d)"  # fonts, sizes
    r"|[vhwlLDZXbox]'[^']*'"  # motions, widths, lines
    r"|[*n]?(?:\[(?P<long>[^\]]*)\]|\((?P<two>..))|[*n]."  # glyphs, strings, numbers
    r"|(?P<sign>.)?)"
)
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)"|(\S+)')
_CLOSING = re.compile(r"[.,:;)\]?!]+")

_FONTS = {"B", "I", "R", "SM", "SB", "BR", "RB", "BI", "IB", "IR", "RI"}
_BREAKS = {"PP", "P", "LP", "HP", "Pp", "sp", "br", "Sp", "RS", "RE", "Bl", "El"}
_LITERAL = {"nf", "EX", "TS", "Vb"}
_FILLED = {"fi", "EE", "TE", "Ed", "Ve"}
_CONDITIONS = {"ie", "el", "if", "while"}
_DEFINITIONS = {"de", "de1", "am", "ig"}
_SILENT = {
    "TH",
    "Dt",
    "Dd",
    "Os",
    "UE",
    "ME",
    "SY",
    "YS",
    "PD",
    "DT",
    "Bk",
    "Ek",
    "Rs",
    "Re",
    "Sm",
    "IX",
}
_CALLABLE = {"Ad", "An", "Ar", "Cd", "Cm", "Dv", "Em", "Er", "Ev", "Fa", "Fn", "Ft", "Ic", "In"}
_CALLABLE |= {"Li", "Lk", "Ms", "Mt", "No", "Nm", "Pa", "St", "Sy", "Ta", "Tn", "Va", "Vt", "Ns"}
_AROUND = {"Op": "[]", "Dq": '""', "Qq": '""', "Sq": "''", "Pq": "()", "Bq": "[]", "Aq": "<>"}
_AROUND |= {"Ql": "''", "Brq": "{}"}
_OPEN = {"Oo": "[", "Po": "(", "Bo": "[", "Do": '"', "Qo": '"', "So": "'"}
_CLOSE = {"Oc": "]", "Pc": ")", "Bc": "]", "Dc": '"', "Qc": '"', "Sc": "'"}


def text_of(source: str) -> str:
    """The paragraphs of a manual page, an empty line between them; its headings in capitals."""
    page = _Page()
    for line in source.splitlines():
        page.read(line)
    page.close()
    return "\n\n".join(page.paragraphs)


def plain(line: str) -> str:
    """A line without escapes."""
    return _ESCAPE.sub(_escaped, line)


class _Page:
    """A page as far as it is read."""

    def __init__(self) -> None:
        self.paragraphs: list[str] = []
        self._held: list[str] = []
        self._filled = True
        self._tag = False  # whether the next text is a tag, that a colon follows
        self._until = ""  # passes over lines, to this one
        self._depth = 0  # of braces of a condition that is passed over
        self._name = ""  # what an mdoc page is about

    def read(self, line: str) -> None:
        if self._until:
            self._until = "" if line.strip() == self._until else self._until
        elif self._depth:
            self._depth = max(0, self._depth + line.count("\\{") - line.count("\\}"))
        elif line.startswith((".", "'")):
            name, _, rest = line[1:].strip().partition(" ")
            self._request(name, rest.strip())
        elif line.strip() or not self._filled:
            self._add(plain(line) if self._filled else plain(line).replace("\t", "  "))
        else:
            self.close()

    def close(self) -> None:
        """End a paragraph."""
        if self._filled:
            text = " ".join(" ".join(self._held).split())
        else:
            text = "\n".join(self._held).strip("\n")
        if text.strip():
            self.paragraphs.append(text)
        self._held.clear()

    def _add(self, text: str) -> None:
        if text:
            self._held.append(text + ":" if self._tag else text)
            self._tag = False

    def _request(self, name: str, rest: str) -> None:
        if name in _CONDITIONS:
            self._depth = max(0, rest.count("\\{") - rest.count("\\}"))
        elif name in _DEFINITIONS:
            ends = rest.split()[1:2] if name != "ig" else []
            self._until = "." + (ends[0] if ends else ".")
        elif name.lower() in ("sh", "ss"):
            self._fill(True)
            heading = " ".join(_arguments(rest))
            self._add(heading.upper() if name.lower() == "sh" else heading)
            self.close()
        elif name in _LITERAL or (name == "Bd" and "-literal" in rest):
            self._fill(False)
        elif name in _FILLED:
            self._fill(True)
        elif name in ("TP", "TQ"):
            self._fill(True)
            self._tag = True
        elif name in ("IP", "It"):
            self._item(name, rest)
        elif name in _BREAKS:
            if self._filled:
                self.close()
        elif name in _FONTS:
            self._add(("" if len(name) == 2 and name[0] != "S" else " ").join(_arguments(rest)))
        elif name in ("UR", "MT"):
            self._add(rest)
        elif name[:1].isupper() and name not in _SILENT:
            self._add(self._mdoc([name, *_arguments(rest)]))

    def _fill(self, filled: bool) -> None:
        self.close()
        self._filled = filled

    def _item(self, name: str, rest: str) -> None:
        self.close()
        words = _arguments(rest)
        said = self._mdoc(words) if name == "It" else " ".join(words[:1])
        if said:
            self._add(said if said in ("*", "o", "-", "·") else said + ":")

    def _mdoc(self, words: list[str]) -> str:
        """What macros of mdoc's, and the words between them, say."""
        said: list[str] = []
        ends: list[str] = []  # what is closed at the end of the line
        glued = False

        def say(text: str) -> None:
            nonlocal glued
            if said and (glued or _CLOSING.fullmatch(text)):
                said[-1] += text
            elif text:
                said.append(text)
            glued = False

        for at, word in enumerate(words):
            following = words[at + 1] if at + 1 < len(words) else ""
            if word == "Nm":
                self._name = self._name or following
                if not following or _CLOSING.fullmatch(following) or following in _CALLABLE:
                    say(self._name)
            elif word == "Nd":
                say("-")
            elif word == "Ux":
                say("Unix")
            elif word == "Xr" and at + 2 < len(words):
                words[at + 1 : at + 3] = [f"{words[at + 1]}({words[at + 2]})", ""]
            elif word == "Fl":
                say("-")
                glued = bool(following) and not _CLOSING.fullmatch(following)
            elif word in _AROUND:
                say(_AROUND[word][0])
                ends.append(_AROUND[word][1])
                glued = True
            elif word in _OPEN:
                say(_OPEN[word])
                glued = True
            elif word in _CLOSE or (word == "Ns" and said):
                glued = True
                if word in _CLOSE:
                    say(_CLOSE[word])
            elif word and word not in _CALLABLE:
                say(word)
        text = " ".join(said)
        while ends:
            body = text.rstrip(".,:;")
            text = body + ends.pop() + text[len(body) :]
        return text


def _arguments(rest: str) -> list[str]:
    """A macro's arguments: words, or what is between quotes."""
    found = _ARGUMENT.findall(rest.split('\\"')[0])
    return [plain(quoted or bare) for quoted, bare in found]


def _escaped(match: re.Match[str]) -> str:
    glyph = match["long"] or match["two"]
    if glyph:
        if re.fullmatch(r"u[0-9A-F]{4}", glyph):
            return chr(int(glyph[1:], 16))
        if len(glyph) == 2 and glyph[0] in _ACCENTS and glyph[1].isalpha():
            return unicodedata.normalize("NFC", glyph[1] + _ACCENTS[glyph[0]])
        return _GLYPHS.get(glyph, "")
    return _SIGNS.get(match["sign"] or "", "")
