"""The lookup finds what a search of the whole text finds, whenever it is asked."""

from hypothesis import given
from hypothesis import strategies as st

from pocketlm.engine.lookup import CANDIDATES, LONGEST, Lookup

#: Texts of few different ids, which repeat themselves.
TEXTS = st.lists(st.integers(0, 3), max_size=80)
#: What a match of each length is worth; often several lengths are worth the same.
WORTH = st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=LONGEST + 1, max_size=LONGEST + 1)
RISING = [n / 10 for n in range(LONGEST + 1)]


def common(tokens, place, end):
    """How many tokens before `place` are those at the end."""
    length = 0
    while length < min(place, LONGEST, len(end)) and tokens[place - 1 - length] == end[-1 - length]:
        length += 1
    return length


def naive(tokens, end, worth):
    """The definition, by a search of the whole text."""
    lengths = {place: common(tokens, place, end) for place in range(len(tokens) - 1, 0, -1)}
    pairs = [place for place, length in lengths.items() if length >= 2][:CANDIDATES]
    full = [place for place in pairs if lengths[place] == LONGEST]
    single = [place for place, length in lengths.items() if length == 1]
    if pairs:
        best = full[0] if full else max(pairs, key=lambda place: worth[lengths[place]])
        return best, lengths[best]
    return (single[0], 1) if single else (0, 0)


@given(text=TEXTS, asked=st.sets(st.integers(0, 80)), guessed=TEXTS, worth=WORTH)
def test_the_search_of_the_whole_text(text, asked, guessed, worth):
    tokens = []
    lookup = Lookup(tokens)
    for i, token in enumerate([*text, -1]):
        if i in asked or token == -1:
            end = [*tokens, *guessed[: i % 3]]
            assert lookup.find(end[-LONGEST:], worth) == naive(tokens, end, worth)
        tokens.append(token)


def test_the_longer_match_wins_over_the_later_one_if_it_is_worth_more():
    text = [1, 2, 3, 4, 50, 9, 3, 4, 60, 1, 2, 3, 4]
    assert Lookup(text).find(text, RISING) == (4, 4)
    assert Lookup(text).find(text, RISING[::-1]) == (8, 2)
    assert Lookup(text).find(text, [1.0] * (LONGEST + 1)) == (8, 2)


def test_without_a_pair_the_last_token_alone_is_looked_for():
    for text, found in (([5, 6, 7, 8, 6], (2, 1)), ([5, 6, 7], (0, 0)), ([], (0, 0))):
        assert Lookup(text).find(text, RISING) == found
