"""The lookup finds what a search of the whole text finds, whenever it is asked."""

from hypothesis import given
from hypothesis import strategies as st

from pocketlm.engine.lookup import CANDIDATES, LONGEST, Lookup

#: Texts of few different ids, which repeat themselves.
TEXTS = st.lists(st.integers(0, 3), max_size=80)


def common(tokens, place):
    """How many tokens before `place` are those at the end of the text."""
    length = 0
    while length < min(place, LONGEST) and tokens[place - 1 - length] == tokens[-1 - length]:
        length += 1
    return length


def naive(tokens):
    """The definition: the longest of the latest candidates, the latest of equal ones."""
    places = [place for place in range(len(tokens) - 1, 0, -1) if common(tokens, place)]
    pairs = [place for place in places if common(tokens, place) >= 2][:CANDIDATES]
    found = pairs or places[:1]
    if not found:
        return 0, 0
    best = max(found, key=lambda place: common(tokens, place))
    return best, common(tokens, best)


@given(text=TEXTS, asked=st.sets(st.integers(0, 80)))
def test_the_search_of_the_whole_text(text, asked):
    tokens = []
    lookup = Lookup(tokens)
    for i, token in enumerate(text):
        if i in asked:
            assert lookup.find() == naive(tokens)
        tokens.append(token)
    assert lookup.find() == naive(tokens)


@given(text=TEXTS, count=st.integers(0, 20))
def test_what_follows_goes_on_as_it_did(text, count):
    lookup = Lookup(text)
    place, length = lookup.find()
    if length:
        grown = list(text)
        for _ in range(count):  # token by token, each the one that stood a period earlier
            grown.append(grown[place - len(text)])
        assert lookup.following(place, count) == grown[len(text) :]


def test_the_longer_match_wins_over_the_later_one():
    text = [1, 2, 3, 4, 50, 9, 3, 4, 60, 1, 2, 3, 4]
    assert Lookup(text).find() == (4, 4)
    assert Lookup(text).following(4, 3) == [50, 9, 3]


def test_without_a_pair_the_last_token_alone_is_looked_for():
    assert Lookup([5, 6, 7, 8, 6]).find() == (2, 1)
    assert Lookup([5, 6, 7]).find() == (0, 0)
    assert Lookup([]).find() == (0, 0)
