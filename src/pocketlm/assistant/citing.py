"""An answer with its sources as Markdown that a terminal, a page and an export show alike.

What passages say is a stranger's: it stands there as words. It can make no link, no image, no
heading, and no line that looks like a citation of ours. Knows answers; not where they are shown.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pocketlm.assistant.asking import Answer, Citation
from pocketlm.assistant.visible import visible

#: What begins something within a line: code, emphasis, HTML, an entity, an image, a formula, …
_INLINE = re.compile(
    r"[\\`*]|(?<![^\W_])_|_(?![^\W_])|~(?=~)|<(?=[a-z/!?])|&(?=#?\w+;)|!(?=\[)|(?<=\])[(\[:]",
    re.IGNORECASE,
)
#: What makes something else than a paragraph of a line that it begins: a title, a list, a rule.
_BEGINNING = re.compile(r"(?:[#>+=-]|(?<=\d)[.)])")
_NUMBER = re.compile(r"\d{1,9}(?=[.)])")


def escaped(text: str) -> str:
    """Text on one line, as Markdown that shows just that."""
    line = " ".join(visible(text).split())
    found = _INLINE.sub(r"\\\g<0>", line)
    if found.count("$") > 1:
        found = found.replace("$", r"\$")
    number = _NUMBER.match(found)
    begin = number.end() if number else 0
    if _BEGINNING.match(found, begin):
        found = f"{found[:begin]}\\{found[begin:]}"
    return found


def as_markdown(answer: Answer, text: str) -> str:
    """`text`, which is the answer's as Markdown; then each source with its number and its words."""
    parts = [text, *map(_cited, answer.citations)]
    parts += [f"Without {escaped(problem)}" for problem in answer.problems]
    return "\n\n".join(parts)


def is_link(source: str) -> bool:
    """Whether a passage's source is a page of the web."""
    try:
        parts = urlsplit(source)
        found = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
    return found and not re.search(r"[\s<>\x00-\x1f]", source)


def _cited(citation: Citation) -> str:
    title = escaped(citation.passage.title)
    place = citation.passage.source
    where = f"<{place}>" if is_link(place) else _code(place)
    doubt = "" if citation.supported else " (not supported)"
    head = f"[{citation.number}] {title + ', ' if title else ''}{where}{doubt}"
    return f"{head}\n\n> {escaped(citation.quote)}"


def _code(text: str) -> str:
    """Text as it is, in a fence that is longer than any in it."""
    line = " ".join(visible(text).split())
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    blank = " " if "`" in line else ""
    return f"{fence}{blank}{line}{blank}{fence}"
