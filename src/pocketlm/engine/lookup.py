"""Where the end of a text stood before in the same text.

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
    """An index of `tokens`, a list that only grows at its end. Each token is indexed once.

    A *place* is the index of a token that something stood before; place 0 is none.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        """Begin; nothing is indexed before the first question."""
        self._tokens = tokens
        self._indexed = 1
        self._after_token: dict[int, int] = {}
        self._after_pair: dict[tuple[int, int], int] = {}
        self._earlier = [0, 0]  # for each place, the one before it after the same pair

    def find(self, end: Sequence[int], worth: Sequence[float]) -> tuple[int, int]:
        """(place, length): the last `length` tokens of `end` stand before `place`; (0, 0) for none.

        Of the candidates the one whose length is `worth` most, the latest of equal ones; the first
        of length LONGEST ends the search. A single token counts only if its pair stood nowhere.
        """
        self._index()
        if len(end) == 0:
            return 0, 0
        tokens = self._tokens
        place = self._after_pair.get((end[-2], end[-1]), 0) if len(end) > 1 else 0
        if place == 0:
            place = self._after_token.get(end[-1], 0)
            return place, 1 if place else 0
        best = length = 0
        for _ in range(CANDIDATES):
            most = min(LONGEST, place, len(end))
            same = 2
            while same < most and tokens[place - 1 - same] == end[-1 - same]:
                same += 1
            if best == 0 or worth[same] > worth[length] or same == LONGEST:
                best, length = place, same
            place = self._earlier[place]
            if place == 0 or length == LONGEST:
                break
        return best, length

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
