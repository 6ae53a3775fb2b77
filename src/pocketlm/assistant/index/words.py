"""The words by which texts are found. Knows English stems and words that say little."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pocketlm.errors import Error, ParameterError

if TYPE_CHECKING:
    from tantivy import TextAnalyzer

#: Most words of a query; a pasted page asks no more clearly than its beginning.
MOST_WORDS = 64
#: A word longer than this is a number in disguise: a digest, a picture as text.
_LONGEST = 64
_WORD = re.compile(r"[^\W_]+")
_QUIET = """
    a about all also am an and any are as at be been but by can could did do does for from had has
    have he her his how i if in into is it its many me much my no not of on or our s she should so
    such t than that the their them then there these they this those to us was we were what when
    where which who whom whose why will with would you your"""
_QUIET_WORDS = frozenset(_QUIET.split())


def words(query: str) -> list[str]:
    """The words of a query, each once, in its order, without those that say little.

    Only if there are no others do these count. Raises ParameterError where there is no word.
    """
    found = list(dict.fromkeys(word.lower() for word in _WORD.findall(query)))
    found = [word for word in found if word not in _QUIET_WORDS] or found
    if not found:
        raise ParameterError(f"there is no word to look for in {query[:80]!r}")
    return found[:MOST_WORDS]


def analyzer() -> TextAnalyzer:
    """What makes terms of texts: runs of letters and digits, without case and accents, stemmed.

    Raises Error where the package for it is not installed.
    """
    try:
        from tantivy import Filter, TextAnalyzerBuilder, Tokenizer
    except ImportError:
        raise Error("searching needs a package: pip install 'pocketlm[search]'") from None
    filters = (
        Filter.remove_long(_LONGEST),
        Filter.lowercase(),
        Filter.ascii_fold(),
        Filter.stemmer("english"),
    )
    builder = TextAnalyzerBuilder(Tokenizer.simple())
    for each in filters:
        builder = builder.filter(each)
    return builder.build()
