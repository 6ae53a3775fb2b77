"""Stop strings: never half shown, and the same end however the text arrives."""

from hypothesis import given
from hypothesis import strategies as st

from pocketlm.engine.text import TextStream


class Spelling:
    """Detokenises numbers to the given texts; the last text is what flushing brings."""

    def __init__(self, texts):
        self.texts = texts

    def push(self, id):
        return self.texts[id]

    def flush(self):
        return self.texts[-1]


def stream(texts, stop):
    """What is shown after each text, and whether a stop string ended it."""
    answer = TextStream(Spelling(texts), stop)
    shown = [answer.push(i) for i in range(len(texts) - 1)]
    shown.append(answer.finish())
    return shown, answer.stopped


def expected(text, stop):
    """The definition: the stop string that is complete first ends the text."""
    for end in range(len(text) + 1):
        starts = [end - len(s) for s in stop if text[:end].endswith(s)]
        if starts:
            return text[: min(starts)], True
    return text, False


PIECES = st.lists(st.text("abc", max_size=4), min_size=1, max_size=8)
STOPS = st.lists(st.text("abc", min_size=1, max_size=4), max_size=3)


@given(PIECES, STOPS)
def test_the_end_does_not_depend_on_the_pieces(pieces, stop):
    shown, stopped = stream(pieces, stop)
    assert ("".join(shown), stopped) == expected("".join(pieces), stop)


@given(PIECES, STOPS)
def test_nothing_is_held_without_need(pieces, stop):
    answer = TextStream(Spelling([*pieces, ""]), stop)
    seen = ""
    for i in range(len(pieces)):
        seen += answer.push(i)
        so_far = "".join(pieces[: i + 1])
        if answer.stopped:
            break
        held = so_far[len(seen) :]
        assert so_far.startswith(seen)
        assert held == "" or any(s.startswith(held) for s in stop)


def test_split_at_every_place():
    text = "The answer is 42.\nUser: and then"
    for cut in range(len(text) + 1):
        shown, stopped = stream([text[:cut], text[cut:], ""], ["\nUser:"])
        assert "".join(shown) == "The answer is 42."
        assert stopped


def test_a_beginning_that_never_was_one_is_shown_at_the_end():
    shown, stopped = stream(["a\nUs", "", ""], ["\nUser:"])
    assert shown == ["a", "", "\nUs"]
    assert not stopped
