r"""Formulas in Markdown: `$…$`, `$$…$$`, `\(…\)` and `\[…\]`, as MathML.

Rules for markdown-it that find them, and what turns LaTeX into MathML. What comes out is untrusted,
like all that Markdown becomes: it is sanitised with the rest.
"""

from __future__ import annotations

import functools
import re
from collections.abc import MutableMapping
from html import escape
from typing import Any
from xml.etree.ElementTree import tostring

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

#: Longer or deeper ones are shown as they were written.
MOST_CHARACTERS = 2_000
MOST_DEPTH = 24
#: What a formula costs of a text's steps (see `markdown.py`), beside one for each character.
STEPS = 60

_CLOSING = {r"\(": r"\)", r"\[": r"\]", "$$": "$$", "$": "$"}
_DISPLAY = (r"\[", "$$")
_OPENS = re.compile(r"\\(?:left|begin)(?![a-zA-Z])|(?<!\\)\{")
_CLOSES = re.compile(r"\\(?:right|end)(?![a-zA-Z])|(?<!\\)\}")
_REFERENCE = re.compile(r"&amp;(#x[0-9A-Fa-f]{1,6};)")
_NESTING = re.compile(f"(?P<opens>{_OPENS.pattern})|{_CLOSES.pattern}")


def formulas(md: MarkdownIt) -> None:
    """A plugin for markdown-it; tokens are `formula` and `formula_block`."""
    md.inline.ruler.before("escape", "formula", _inline)
    md.block.ruler.before("fence", "formula_block", _block, {"alt": ["paragraph", "list"]})


@functools.lru_cache(2048)
def html_of(latex: str, *, display: bool) -> str:
    """A formula as MathML, or as code where it is none that can be read."""
    latex = latex.strip()
    if len(latex) <= MOST_CHARACTERS and _depth(latex) <= MOST_DEPTH:
        from latex2mathml.converter import convert_to_element

        try:
            formula = convert_to_element(latex, display="block" if display else "inline")
            # Symbols are references to characters; all else is text.
            return _REFERENCE.sub(r"&\1", tostring(formula, encoding="unicode"))
        except Exception:  # of many kinds, also IndexError and RecursionError
            pass
    return f'<code class="formula">{escape(latex)}</code>'


def spend(env: MutableMapping[str, Any], latex: str) -> None:
    """Count a formula among the steps of a text."""
    env["steps"] -= STEPS + len(latex)


def _depth(latex: str) -> int:
    depth = deepest = 0
    for match in _NESTING.finditer(latex):
        depth += 1 if match["opens"] else -1
        deepest = max(deepest, depth)
    return deepest


def _inline(state: StateInline, silent: bool) -> bool:
    text, pos = state.src, state.pos
    if text[pos] not in "$\\":
        return False
    opening = text[pos : pos + 2]
    if opening not in _CLOSING:
        if text[pos] != "$":
            return False
        opening = "$"
    closing = _CLOSING[opening]
    begin = pos + len(opening)
    end = _find(text, closing, begin, min(state.posMax, begin + MOST_CHARACTERS))
    if end < 0 or not text[begin:end].strip():
        return False
    # Prices are no formulas: nothing blank within the dollars, no digit after them (as in Pandoc).
    after = text[end + 1 : end + 2]
    if opening == "$" and (text[begin].isspace() or text[end - 1].isspace() or after.isdigit()):
        return False
    if not silent:
        token = state.push("formula", "math", 0)
        token.content, token.markup = text[begin:end], opening
        spend(state.env, token.content)
    state.pos = end + len(closing)
    return True


def _find(text: str, closing: str, begin: int, most: int) -> int:
    """Where a formula ends; a dollar behind a backslash is one of the formula."""
    end = text.find(closing, begin, most)
    while end > begin and closing[0] == "$" and text[end - 1] == "\\":
        end = text.find(closing, end + 1, most)
    return end


def _block(state: StateBlock, start: int, last: int, silent: bool) -> bool:
    begin = state.bMarks[start] + state.tShift[start]
    opening = state.src[begin : begin + 2]
    if opening not in _DISPLAY or state.is_code_block(start):
        return False
    closing = _CLOSING[opening]
    line, first = start, begin + 2
    while True:
        end = state.eMarks[line]
        if state.src[first:end].rstrip().endswith(closing):
            break
        line += 1
        if line >= last or state.isEmpty(line) or state.sCount[line] < state.blkIndent:
            return False  # a formula holds no blank line
        first = state.bMarks[line] + state.tShift[line]
    if silent:
        return True
    lines = state.getLines(start, line + 1, state.blkIndent, False).strip()
    token = state.push("formula_block", "math", 0)
    token.content = lines[2:].removesuffix(closing)
    token.markup, token.block, token.map = opening, True, [start, line + 1]
    state.line = line + 1
    spend(state.env, token.content)
    return True
