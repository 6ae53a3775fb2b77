"""Where the end of a text stood before in the same text, and what came after it there.

Prompt lookup (Saxena 2023) with the hash chains of LZ77 compressors: each pair of tokens leads to
the place where it last stood, and each such place to the one before it. It knows token ids; it does
not know whether what it finds is worth trying.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Matches are told apart up to this length.
LONGEST = 8
#: How many places where the last two tokens stood are looked at, the latest first.
CANDIDATES = 8


class Lookup:
    """An index of `tokens`, a list that only grows at its end. Each token is indexed once."""

    def __init__(self, tokens: Sequence[int]) -> None:
        """Begin; nothing is indexed before the first question."""
        self._tokens = tokens
        self._indexed = 1
        # A *place* is the index of a token that something stood before. Place 0 is none.
        self._after_token: dict[int, int] = {}
        self._after_pair: dict[tuple[int, int], int] = {}
        self._earlier = [0, 0]  # for each place, the one before it after the same pair

    def find(self) -> tuple[int, int]:
        """(place, length): what the text ends in stood before `place` too, `length` tokens of it.

        The longest match among the candidates, the latest of equal ones; (0, 0) for none.
        """
        self._index()
        tokens = self._tokens
        end = len(tokens)
        best = length = 0
        place = self._after_pair.get((tokens[end - 2], tokens[end - 1]), 0) if end > 1 else 0
        for _ in range(CANDIDATES):
            if place == 0 or length == LONGEST:
                break
            most = min(LONGEST, place)
            same = 2
            while same < most and tokens[place - 1 - same] == tokens[end - 1 - same]:
                same += 1
            if same > length:
                best, length = place, same
            place = self._earlier[place]
        if length == 0 and end and (place := self._after_token.get(tokens[end - 1], 0)):
            return place, 1
        return best, length

    def following(self, place: int, count: int) -> list[int]:
        """The `count` tokens from `place` on, over and over where the text ends before that."""
        period = len(self._tokens) - place
        found = list(self._tokens[place : place + count])
        return found if period >= count else (found * (count // period + 1))[:count]

    def _index(self) -> None:
        tokens, first, end = self._tokens, self._indexed, len(self._tokens)
        if end <= first:
            return
        self._after_token.update(zip(tokens[first - 1 : end - 1], range(first, end), strict=True))
        after_pair, earlier = self._after_pair, self._earlier
        for place in range(max(first, 2), end):
            pair = (tokens[place - 2], tokens[place - 1])
            earlier.append(after_pair.get(pair, 0))
            after_pair[pair] = place
        self._indexed = end
