"""Markdown that a model wrote, as HTML that a page may show: block by block, sanitised last.

What a model writes is untrusted: it may repeat what an attacker put into a document. So raw HTML is
text here, no image is ever loaded, links lead to the web or to mail and say where, and whatever
Markdown and formulas became, only listed elements and attributes leave. Text that would take long
to read is shown as it is: nesting and steps are counted.

It knows texts and HTML. It does not know models or pages.
"""

from __future__ import annotations

import functools
import re
from collections.abc import MutableMapping, Sequence
from html import escape
from typing import Any
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore, inline, text_join
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from pocketlm.serve.ui.formulas import formulas, html_of

#: A longer text, or one of more lines, is shown as it is.
MOST_CHARACTERS, MOST_LINES = 100_000, 5_000
#: How many rules may be tried at a text; some 3 µs each. What is left of it then is shown as it is.
MOST_STEPS = 12_000
#: How deep quotes and lists may be within each other.
MOST_DEPTH = 24
#: Rendering and cleaning a block costs as much as so many steps, beside those of its text.
_BLOCK_STEPS = 8
#: A bracket is looked up to the end of its paragraph: that counts for one step more each this many.
_CHARACTERS_A_STEP = 64

_LINK = re.compile(r"https?://[^/?#\s]|mailto:[^\s]", re.IGNORECASE)
_LANGUAGE = re.compile(r"language-[\w+#.-]{1,40}")

_MATH = {
    *("math", "mrow", "mi", "mn", "mo", "ms", "mtext", "mspace", "mfrac", "msqrt", "mroot"),
    *("msub", "msup", "msubsup", "munder", "mover", "munderover", "mmultiscripts", "mprescripts"),
    *("mtable", "mtr", "mtd", "mstyle", "mpadded", "mphantom", "menclose"),
}
TAGS = {
    *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li"),
    *("pre", "code", "em", "strong", "s", "a", "span"),
    *("table", "thead", "tbody", "tr", "th", "td"),
    *_MATH,
}
ATTRIBUTES = {
    "a": {"href", "title", "target"},
    "ol": {"start"},
    "pre": {"class"},
    "code": {"class"},
    "span": {"class"},
    "th": {"class"},
    "td": {"class"},
    "math": {"display"},
    "mi": {"mathvariant"},
    "mo": {"stretchy", "fence", "separator", "form", "movablelimits", "minsize", "maxsize"},
    "mfrac": {"linethickness"},
    "mspace": {"width"},
    "mtable": {"columnalign", "rowspacing"},
    "mtd": {"columnalign"},
    "mstyle": {"displaystyle", "scriptlevel"},
    "menclose": {"notation"},
}
_CLASSES = {
    "pre": {"plain"},
    "code": {"formula"},
    "span": {"host", "image"},
    "th": {"left", "center", "right"},
    "td": {"left", "center", "right"},
}


class _TooMuchError(Exception):
    """A text is nested too deep, or takes too long."""


def render(text: str) -> list[str]:
    """The text's top-level blocks, each as HTML."""
    return [html for html, _ in _blocks(_plain_lines(text))]


class Growing:
    """A text that is being written: of its blocks, only the last one is rendered again."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._shown: list[str] = []
        self._kept = 0  # so many blocks cannot change any more
        self._begin = 0  # where the text after them begins

    def update(self, text: str, *, over: bool = False) -> tuple[int, list[str]]:
        """The first block that changed since the last call, and the blocks from there on.

        `text` is all of it. At the end it is rendered as a whole, whatever was shown before.
        """
        text = _plain_lines(text)
        if over:
            blocks = render(text)
        else:
            found = _blocks(text[self._begin :])
            blocks = [*self._shown[: self._kept], *(html for html, _ in found)]
            self._keep(text, [line for _, line in found])
        same = 0
        for old, new in zip(self._shown, blocks, strict=False):
            if old != new:
                break
            same += 1
        changed = (same, blocks[same:])
        self._shown = blocks
        return changed

    def _keep(self, text: str, lines: Sequence[int]) -> None:
        """A block is over where the next one begins with a line that is whole."""
        ends = [match.end() for match in re.finditer("\n", text[self._begin :])]
        over = [i for i, line in enumerate(lines) if i and line < len(ends)]
        if over:
            self._kept += over[-1]
            self._begin += ends[lines[over[-1]] - 1]


def _plain_lines(text: str) -> str:
    return text.replace("\r", "").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _blocks(text: str) -> list[tuple[str, int]]:
    """Each top-level block as HTML, and the line at which it begins."""
    if len(text) > MOST_CHARACTERS or text.count("\n") > MOST_LINES:
        return [(_plain(text), 0)]
    md = _parser()
    env: dict[str, Any] = {"steps": MOST_STEPS}
    try:
        tokens = md.parse(text, env)
    except _TooMuchError:
        return [(_plain(text), 0)] if text.strip() else []
    lines = text.split("\n")
    found = []
    for group in _grouped(tokens):
        begin, end = group[0].map or (0, 0)
        try:
            html = _rendered(md, group, env)
        except _TooMuchError:
            html = _plain("\n".join(lines[begin:end]))
        found.append((html, begin))
    return found


def _grouped(tokens: Sequence[Token]) -> list[list[Token]]:
    """The tokens of each top-level block."""
    groups: list[list[Token]] = []
    level = 0
    for token in tokens:
        if level == 0:
            groups.append([])
        groups[-1].append(token)
        level += token.nesting
    return groups


def _rendered(md: MarkdownIt, tokens: list[Token], env: MutableMapping[str, Any]) -> str:
    env["steps"] -= _BLOCK_STEPS
    if env["steps"] < 0:
        raise _TooMuchError
    state = StateCore("", md, env, tokens)
    inline(state)
    text_join(state)
    return _clean(md.renderer.render(tokens, md.options, env))


def _plain(text: str) -> str:
    # Not to be cleaned, which takes seconds where there are a million references to characters.
    return f'<pre class="plain">{escape(text)}</pre>'


def _clean(html: str) -> str:
    return nh3.clean(
        html,
        tags=TAGS,
        attributes=ATTRIBUTES,
        attribute_filter=_attribute,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer",
    )


def _attribute(tag: str, name: str, value: str) -> str | None:
    if name == "href":
        return value if _LINK.match(value) else None
    if name == "target":
        return value if value == "_blank" else None
    if name == "class":
        if tag == "code" and _LANGUAGE.fullmatch(value):
            return value
        return value if value in _CLASSES.get(tag, ()) else None
    return value


@functools.cache
def _parser() -> MarkdownIt:
    options = {"html": False, "xhtmlOut": False, "maxNesting": 4 * MOST_DEPTH}
    md = MarkdownIt("commonmark", options, renderer_cls=_Renderer)
    md.enable(["table", "strikethrough"])
    # References would let later lines change earlier ones; inline parsing is done block by block.
    md.disable(["reference", "html_block", "html_inline", "inline", "text_join"])
    # An instance takes its own rule for links so; mypy sees a method.
    md.validateLink = _is_link  # type: ignore[method-assign]
    md.use(formulas)
    md.block.ruler.before(
        "table", "steps", _count_lines, {"alt": ["paragraph", "blockquote", "list"]}
    )
    md.inline.ruler.before("text", "steps", _count)
    return md


def _is_link(url: str) -> bool:
    try:
        return _LINK.match(url) is not None and bool(_destination(url))
    except ValueError:  # an address or a port that is none
        return False


def _count_lines(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    cells = state.src.count("|", state.bMarks[start], state.eMarks[start])
    state.env["steps"] -= 1 + 2 * cells
    if state.env["steps"] < 0 or state.level > MOST_DEPTH:
        raise _TooMuchError
    return False


def _count(state: StateInline, silent: bool) -> bool:
    env = state.env
    env["steps"] -= 1
    if state.src[state.pos] in "![":
        env["steps"] -= (state.posMax - state.pos) // _CHARACTERS_A_STEP
    if env["steps"] < 0:
        raise _TooMuchError
    return False


class _Renderer(RendererHTML):
    """Where pages need something else than Markdown's usual HTML."""

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """What an image is of, and its address: text. None is ever loaded."""
        token = tokens[idx]
        words = self.renderInlineAsText(token.children, options, env)
        label = ": ".join(part for part in (words, str(token.attrs.get("src", ""))) if part)
        return f'<span class="image">{escape(label)}</span>'

    def link_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        """A link opens in a window of its own."""
        tokens[idx].attrSet("target", "_blank")
        return self.renderToken(tokens, idx, options, env)

    def link_close(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        """Behind a link stands where it leads, unless it says so itself."""
        opening = next(i for i in range(idx - 1, -1, -1) if tokens[i].type == "link_open")
        href = str(tokens[opening].attrs["href"])
        words = self.renderInlineAsText(tokens[opening + 1 : idx], options, env)
        where = _destination(href)
        if words in (href, where):
            return "</a>"
        return f'</a> <span class="host">({escape(where)})</span>'

    def formula(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """A formula in a line."""
        token = tokens[idx]
        return html_of(token.content, display=token.markup in ("$$", r"\["))

    def formula_block(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        """A formula that stands alone."""
        return f"<p>{html_of(tokens[idx].content, display=True)}</p>\n"

    def th_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """A column's alignment as a class: styles are for style sheets."""
        style = str(tokens[idx].attrs.pop("style", ""))
        if style:
            tokens[idx].attrSet("class", style.removeprefix("text-align:"))
        return self.renderToken(tokens, idx, options, env)

    td_open = th_open


def _destination(href: str) -> str:
    """The host, or the address of mail, that a link leads to. Raises ValueError for none."""
    parts = urlsplit(href)
    if parts.scheme.lower() == "mailto":
        return parts.path
    return (parts.hostname or "") + ("" if parts.port is None else f":{parts.port}")
