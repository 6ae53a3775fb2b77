"""One sequence's place in the cache.

It knows its token ids and which blocks hold their keys and values. It does not know what other
sequences hold, nor how blocks are found: the pool does.
"""

from __future__ import annotations

from collections.abc import Hashable
from collections.abc import Sequence as Ids
from typing import Self

from pocketlm.engine.blocks import GONE, Block, BlockPool


class Sequence:
    """The ids of one sequence and the blocks that hold their keys and values.

    A step is `extend`, the native run, `commit`. `committed` positions are written; what comes
    after them, `rewind` takes back. There may be blocks beyond the ids, for drafts: an id that
    stays is made known by `extend` and `commit` after the run that wrote it. Without a `root` the
    blocks are the sequence's alone.
    """

    def __init__(self, pool: BlockPool, root: Block | None = None) -> None:
        """Begin empty."""
        self.tokens: list[int] = []
        self.committed = 0
        self._pool = pool
        self._root = root
        self._blocks: list[Block] = []
        self._first = 0  # blocks before this one have left the window

    def __len__(self) -> int:
        """Positions that are written, or about to be."""
        return len(self.tokens)

    @classmethod
    def begin(cls, pool: BlockPool, tokens: Ids[int] = (), key: Hashable = None) -> Self:
        """A sequence that holds as many whole blocks of `tokens` as are still there."""
        root = pool.root(key)
        sequence = cls(pool, root)
        sequence._blocks = pool.claim(tokens, root)
        sequence.tokens = list(tokens[: len(sequence._blocks) * pool.positions])
        sequence.committed = len(sequence.tokens)
        sequence._first = pool.first_seen(sequence.committed)
        return sequence

    @property
    def table(self) -> list[int]:
        """The number of each block, GONE where the window has passed."""
        return [GONE] * self._first + [block.number for block in self._blocks[self._first :]]

    def extend(self, tokens: Ids[int], drafts: int = 0) -> None:
        """Give `tokens` places to be written to, and after them so many drafts."""
        pool = self._pool
        if len(self.tokens) % pool.positions:
            at = len(self.tokens) // pool.positions
            last = self._blocks[at]
            if last.ids is not None or last.users > 1:  # copy on write
                self._blocks[at] = pool.copy(last)
                pool.drop(last)
        self.tokens.extend(tokens)
        while len(self._blocks) * pool.positions < len(self.tokens) + drafts:
            self._blocks.append(pool.allocate())

    def commit(self) -> None:
        """The ids' keys and values are written: seal full blocks, let go of those out of sight."""
        pool = self._pool
        size = pool.positions
        for i in range(self.committed // size, len(self.tokens) // size):
            if self._root is not None:
                parent = self._blocks[i - 1] if i else self._root
                ids = self.tokens[i * size : (i + 1) * size]
                self._blocks[i] = pool.seal(self._blocks[i], parent, ids)
        self.committed = len(self.tokens)
        first = pool.first_seen(self.committed)
        for block in self._blocks[self._first : first]:
            pool.drop(block)
        self._first = max(self._first, first)

    def rewind(self, length: int) -> None:
        """Forget the ids from `length` on.

        Where the window had passed blocks that are gone now, more is forgotten: `len` tells, and
        those ids are to be processed again.
        """
        pool = self._pool
        count = -(-length // pool.positions)
        first = pool.first_seen(length)
        if any(block.number == GONE for block in self._blocks[first : min(self._first, count)]):
            count = pool.usable(self._blocks[: length // pool.positions])
            length = count * pool.positions
            first = pool.first_seen(length)
        for block in self._blocks[first : min(self._first, count)]:
            pool.take(block)
        for block in reversed(self._blocks[max(self._first, count) :]):
            pool.drop(block)
        del self._blocks[count:]
        del self.tokens[length:]
        self.committed = min(self.committed, length)
        self._first = min(self._first, first)

    def fork(self) -> Sequence:
        """Another sequence with the same beginning; what they share is copied when one writes."""
        other = Sequence(self._pool, self._root)
        other.tokens = list(self.tokens)
        other.committed = self.committed
        other._blocks = self._blocks[: -(-len(self.tokens) // self._pool.positions)]
        other._first = self._first
        for block in other._blocks[self._first :]:
            self._pool.take(block)
        return other

    def save(self) -> None:
        """Have what is written kept on disk, where the pool keeps anything there."""
        if self._root is not None:
            self._pool.save(self._blocks, self.tokens[: self.committed], self._root)

    def free(self) -> None:
        """Let go of all blocks, the last one first: a beginning is of more use than an end."""
        for block in reversed(self._blocks[self._first :]):
            self._pool.drop(block)
        self._blocks, self.tokens, self.committed, self._first = [], [], 0, 0
