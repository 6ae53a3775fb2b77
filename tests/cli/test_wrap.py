"""Wrapping of text that arrives in pieces."""

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from pocketlm.cli.wrap import Wrapper


def wrapped(text: str, width: int, cuts: list[int] | None = None) -> str:
    wrapper = Wrapper(width)
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts or []), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
    return "".join(map(wrapper.push, pieces)) + wrapper.flush()


def test_breaks_between_words():
    assert wrapped("the quick brown fox jumps", 10) == "the quick\nbrown fox\njumps"
    assert wrapped("one two", 7) == "one two"


def test_keeps_the_texts_own_lines_and_indents():
    assert wrapped("a\n\n    b c\n", 20) == "a\n\n    b c\n"


def test_breaks_a_word_that_is_too_long():
    assert wrapped("abcdefgh", 3) == "abc\ndef\ngh"


def test_wide_characters_take_two_columns():
    assert wrapped("日本語日本語", 6) == "日本語\n日本語"


def test_shows_a_word_as_soon_as_it_is_whole():
    wrapper = Wrapper(20)
    assert [wrapper.push(piece) for piece in ("he", "llo", " wor", "ld.")] == ["", "", "hello", ""]
    assert wrapper.flush() == " world."


@given(st.text("ab \n日", max_size=60), st.integers(2, 12), st.lists(st.integers(0, 60)))
def test_the_text_is_the_same_however_it_arrives(text, width, cuts):
    result = wrapped(text, width, cuts)
    assert result == wrapped(text, width)
    assert re.sub(r"\s", "", result) == re.sub(r"\s", "", text)
    columns = [sum(2 if char == "日" else 1 for char in line) for line in result.split("\n")]
    assert max(columns) <= width
