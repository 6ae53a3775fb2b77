"""How many drafted tokens a step should try: as many as make it faster, and none where none do.

A draft is a guess at the next tokens, taken from the text itself. A step computes the logits after
each guess in one batch with the last token's; guesses that turn out right save a step each, wrong
ones cost their row. Nothing is assumed about either: how often a guess is right is counted for each
text and length of match (also while nothing is drafted), and what a step of more rows costs is
taken from the steps themselves. It knows token ids and seconds; it does not know how a step is run
or how tokens are chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pocketlm.engine.lookup import LONGEST, Lookup

#: Most tokens drafted for one text.
MOST = 7
#: Most rows of a step that has drafts.
MOST_ROWS = 16
#: How often the token after a match of each length (0, 1, …, LONGEST) is the one that came then,
#: as long as a text has not shown it.
CHANCES = (0.0, 0.1, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85)
#: How often a token comes that alone may be written by a constraint, if it is cut as usual.
FORCED = 0.95
#: What a step of n rows costs, beside one of one row, until it is measured.
COSTS = tuple(1 + 0.15 * (rows - 1) for rows in range(MOST_ROWS + 1))
#: What a new observation weighs; of costs, the first ones more than later ones.
CHANCE_RATE = 1 / 12
FIRST_COST_RATE, COST_RATE = 1 / 4, 1 / 25
#: A step that another program held up is not believed beyond this factor.
SURPRISE = 2.0
#: Expected gain below which nothing is drafted.
MARGIN = 1.07
#: A guess below this probability gains less than that; the first is looked up still, to learn.
HOPELESS = MARGIN - 1
#: After so many steps with drafts one is made without, to compare them with it.
MOST_DRAFTED = 64
#: Every so many steps the measured costs are left aside, so that wrong ones cannot last.
RETRY = 256


class Drafter:
    """Guesses how one text goes on, and counts how good the guesses are.

    `tokens` is the text's own list, which grows at its end.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        """Begin with the text as it is."""
        self._tokens = tokens
        self._lookup = Lookup(tokens)
        self._chances = list(CHANCES)
        self._draft: list[int] = []
        self._lengths: list[int] = []  # of the match that each guess was taken from
        self._end = 0

    def propose(self, most: int = MOST) -> tuple[list[int], list[float]]:
        """Up to `most` tokens, and for each the probability that it and those before it come.

        Each guess is looked up after those before it, as if they were right.
        """
        self._learn()
        tokens, find, chances = self._tokens, self._lookup.find, self._chances
        self._end = end = len(tokens)
        draft: list[int] = []
        lengths: list[int] = []
        probabilities: list[float] = []
        self._draft, self._lengths = draft, lengths
        tail = list(tokens[-LONGEST:])
        place, length = find(tail, chances)
        probability = chances[length]
        while length and len(draft) < most and (probability > HOPELESS or not draft):
            token = tokens[place] if place < end else draft[place - end]
            draft.append(token)
            lengths.append(length)
            probabilities.append(probability)
            tail.append(token)
            if length == LONGEST:
                place += 1
            else:
                place, length = find(tail, chances)
            probability *= chances[length]
        return draft, probabilities

    def _learn(self) -> None:
        """Compare the last guesses with what came, whether they were tried or not."""
        came = self._tokens[self._end :]
        for guess, token, length in zip(self._draft, came, self._lengths, strict=False):
            self._chances[length] += CHANCE_RATE * ((guess == token) - self._chances[length])
            if guess != token:
                break


class Speculation:
    """Decides for the texts of a step, and learns what steps cost on this machine."""

    def __init__(self) -> None:
        """Begin without experience."""
        self._costs = list(COSTS)
        self._seen: Counter[int] = Counter()
        self._drafted = 0  # steps since the last one without drafts
        self._last: tuple[int, float] | None = None
        self._decisions = 0

    def drafts(self, proposals: Sequence[tuple[list[int], list[float]]]) -> list[list[int]]:
        """For each text's proposal (see `Drafter.propose`), the part of it that is worth trying.

        Chosen for the most tokens a second: the likeliest guesses first, of whichever text.
        """
        self._decisions += 1
        costs = COSTS if self._decisions % RETRY == 0 else self._costs
        texts = len(proposals)
        guesses = [
            (probability, text)
            for text, (_, probabilities) in enumerate(proposals)
            for probability in probabilities
            if probability > HOPELESS
        ]
        if not guesses:
            self._drafted = 0
            return [[] for _ in proposals]
        guesses.sort(key=lambda guess: -guess[0])
        chosen, expected = 0, float(texts)
        if texts < MOST_ROWS and self._drafted < MOST_DRAFTED:
            best = MARGIN * expected / costs[texts]
            for count, (probability, _) in enumerate(guesses[: MOST_ROWS - texts], 1):
                expected += probability
                if expected > best * costs[texts + count]:
                    chosen, best = count, expected / costs[texts + count]
        self._drafted = self._drafted + 1 if chosen else 0
        counts = Counter(text for _, text in guesses[:chosen])
        return [draft[: counts[text]] for text, (draft, _) in enumerate(proposals)]

    def measured(self, tokens: int, rows: int, seconds: float) -> None:
        """A step of `tokens` tokens, after `rows` of which a token is chosen, took `seconds`.

        Steps that process prompts (tokens without a row) are no measure. Only neighbouring steps
        are compared: the machine is another one a minute later.
        """
        before = self._last
        self._last = (rows, seconds) if tokens == rows <= MOST_ROWS else None
        if before is None or self._last is None or before[0] == rows:
            return
        surprise = seconds / before[1] / (self._costs[rows] / self._costs[before[0]])
        fewest = min(self._seen[rows], self._seen[before[0]])
        rate = max(COST_RATE, FIRST_COST_RATE / (1 + FIRST_COST_RATE * fewest))
        self._seen.update((rows, before[0]))
        correction = min(max(surprise, 1 / SURPRISE), SURPRISE) ** rate
        self._correct(rows, correction)
        self._correct(before[0], 1 / correction)

    def _correct(self, rows: int, factor: float) -> None:
        """Multiply what that many rows cost; half as much what one more or less costs, and so on.

        One row costs 1, whatever it takes.
        """
        if rows == 1:
            return
        for other in range(2, MOST_ROWS + 1):
            self._costs[other] *= factor ** (0.5 ** abs(other - rows))
