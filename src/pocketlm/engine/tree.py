"""Texts that begin alike, as trees: what several share is there once.

It knows token ids. It does not know what is computed of them.
"""

from __future__ import annotations

from collections.abc import Sequence as Ids
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True)
class Node:
    """`tokens` at positions `start` on, the same in all of `texts` (their indices).

    `children` say how those of them go on that are longer.
    """

    start: int
    tokens: Ids[int]
    texts: list[int]
    children: list[Node]

    def readers(self, firsts: Ids[int], start: int, end: int) -> dict[int, list[int]]:
        """Who wants what is computed at positions `start` to `end`: position to texts from there.

        Text i wants the positions from `firsts[i]` on.
        """
        found: dict[int, list[int]] = {}
        for index in self.texts:
            if firsts[index] < end:
                found.setdefault(max(start, firsts[index]), []).append(index)
        return found


def trees(texts: Ids[Ids[int]], among: Ids[int]) -> list[Node]:
    """The trees of those of `texts` whose indices are in `among`; none of these is empty."""
    return _nodes(texts, sorted(among, key=lambda index: list(texts[index])), 0)


def _nodes(texts: Ids[Ids[int]], order: Ids[int], start: int) -> list[Node]:
    """The nodes at `start` of texts that are alike before it, given in the order of their ids."""
    nodes = []
    for _, group in groupby(order, key=lambda index: texts[index][start]):
        alike = list(group)
        first, last = texts[alike[0]], texts[alike[-1]]  # what they share, all between them do
        end = start + 1
        while end < min(len(first), len(last)) and first[end] == last[end]:
            end += 1
        longer = [index for index in alike if len(texts[index]) > end]
        nodes.append(Node(start, first[start:end], alike, _nodes(texts, longer, end)))
    return nodes
