"""Which cache blocks hold which token ids.

A block holds the keys and values of a fixed number of positions. Full blocks are found by a chain
of hashes over the ids before and in them; the ids themselves are compared, so that a hash only
finds and never decides. Blocks that no sequence uses stay for reuse, least recently used first to
go.

It knows token ids and block numbers. It does not know what a block's memory looks like, nor what
the ids mean. A pool serves one cache (of one type, for one model); whatever else makes equal ids
mean different contents (the LongRoPE factor set, an adapter) is a sequence's `key`.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable
from hashlib import blake2b
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from pocketlm.errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence as Ids

    from pocketlm._native import KVCache

GONE = -1


def _digest(before: bytes, ids: bytes) -> bytes:
    return blake2b(before + ids, digest_size=16).digest()


class Block:
    """A block of positions; once full it is *sealed*: its ids and the blocks before it are fixed.

    The object outlives its memory (`number` is then GONE) while a later block or a sequence refers
    to it: with a sliding window, a block is of use long after those before it went.
    """

    __slots__ = ("__weakref__", "digest", "ids", "number", "parent", "users")

    def __init__(self, number: int) -> None:
        """Describe native block `number`, which has one user."""
        self.number = number
        self.users = 1
        self.parent: Block | None = None
        self.ids: bytes | None = None
        self.digest = b""


class BlockPool:
    """The blocks of one cache: those that sequences use, and idle ones that may be used again.

    `budget` bounds the bytes of all blocks together: idle ones are let go to stay below it, and
    only blocks in use may exceed it. `window` is the sliding window in positions, or None.
    """

    def __init__(
        self,
        cache: KVCache,
        *,
        budget: int,
        window: int | None = None,
        digest: Callable[[bytes, bytes], bytes] = _digest,
    ) -> None:
        """Begin without blocks. `digest(of the blocks before, ids)` finds a block."""
        self.cache = cache
        self.positions: int = cache.block_positions
        self.window = window
        self._limit = budget // cache.block_bytes
        self._digest = digest
        self._roots: dict[Hashable, Block] = {}
        self._index: WeakValueDictionary[bytes, Block] = WeakValueDictionary()
        self._idle: OrderedDict[Block, None] = OrderedDict()
        self._total = 0

    @property
    def in_use(self) -> int:
        """Blocks that a sequence holds."""
        return self._total - len(self._idle)

    @property
    def idle(self) -> int:
        """Blocks kept only to be found again."""
        return len(self._idle)

    def sequence(self, tokens: Ids[int] = (), key: Hashable = None) -> Sequence:
        """A sequence that begins with as many whole blocks of `tokens` as are still here."""
        root = self._root(key)
        chain = self._find(tokens, root)
        chain = chain[: self.usable(chain)]
        sequence = Sequence(self, root)
        sequence.adopt(tokens, chain)
        return sequence

    def private(self) -> Sequence:
        """A sequence that finds nothing and that nobody finds."""
        return Sequence(self, None)

    def clear(self) -> None:
        """Let go of all idle blocks."""
        self._evict(0)

    def first_seen(self, position: int) -> int:
        """The first block that a query at `position` sees, or a later one will."""
        if self.window is None:
            return 0
        return max(0, position - self.window + 1) // self.positions

    def usable(self, chain: list[Block]) -> int:
        """How many blocks of `chain` can be continued: all that the next query sees are here."""
        best = present = 0
        for count, block in enumerate(chain, 1):
            present = present + 1 if block.number != GONE else 0
            if present >= count - self.first_seen(count * self.positions):
                best = count
        return best

    def allocate(self) -> Block:
        """A new block with one user."""
        return self._new(self.cache.allocate)

    def copy(self, block: Block) -> Block:
        """A new block with the contents of `block`, not sealed, with one user."""
        return self._new(lambda: self.cache.copy(block.number))

    def take(self, block: Block) -> None:
        """Count one more user."""
        block.users += 1
        self._idle.pop(block, None)

    def drop(self, block: Block) -> None:
        """Count one user less. A block that others may find stays, idle, as the budget allows."""
        block.users -= 1
        if block.users or block.number == GONE:
            return
        if block.ids is not None and self._index.get(block.digest) is block:
            self._idle[block] = None
            self._evict(self._limit)
        else:
            self._release(block)

    def seal(self, block: Block, parent: Block, tokens: Ids[int]) -> Block:
        """Make a full block findable; returns the block that stands for these ids from now on."""
        ids = array("i", tokens).tobytes()
        digest = self._digest(parent.digest, ids)
        block.parent, block.ids, block.digest = parent, ids, digest
        found = self._index.setdefault(digest, block)
        if found is block or not (found.parent is parent and found.ids == ids):
            return block  # after a collision nobody finds this block: it is its sequence's alone
        self.take(found)
        if found.number == GONE:
            found.number, block.number = block.number, GONE
        self.drop(block)
        return found

    def _root(self, key: Hashable) -> Block:
        if key not in self._roots:
            root = Block(GONE)
            root.digest = self._digest(b"", repr(key).encode())
            self._roots[key] = root
        return self._roots[key]

    def _find(self, tokens: Ids[int], parent: Block) -> list[Block]:
        chain: list[Block] = []
        for start in range(0, len(tokens) - self.positions + 1, self.positions):
            ids = array("i", tokens[start : start + self.positions]).tobytes()
            block = self._index.get(self._digest(parent.digest, ids))
            if block is None or block.parent is not parent or block.ids != ids:
                break
            chain.append(block)
            parent = block
        return chain

    def _new(self, make: Callable[[], int]) -> Block:
        self._evict(self._limit - 1)
        try:
            block = Block(make())
        except (RuntimeError, MemoryError):
            self._evict(0)
            try:
                block = Block(make())
            except (RuntimeError, MemoryError):
                raise Error(
                    f"no memory for another {self.cache.block_bytes:,} bytes of KV cache; use a "
                    "shorter context, or the 8-bit cache (cache_type='q8')"
                ) from None
        self._total += 1
        return block

    def _evict(self, limit: int) -> None:
        while self._idle and self._total > limit:
            self._release(self._idle.popitem(last=False)[0])

    def _release(self, block: Block) -> None:
        self.cache.release(block.number)
        block.number = GONE
        self._total -= 1


class Sequence:
    """The ids of one sequence and the blocks that hold their keys and values.

    A step is `extend`, the native run, `commit`. `committed` positions are written; what comes
    after them, `rewind` takes back. Without a `root` the blocks are the sequence's alone.
    """

    def __init__(self, pool: BlockPool, root: Block | None) -> None:
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

    def adopt(self, tokens: Ids[int], chain: list[Block]) -> None:
        """Hold the sealed blocks of `chain`, which hold `tokens`' first ids."""
        self.tokens = list(tokens[: len(chain) * self._pool.positions])
        self.committed = len(self.tokens)
        self._first = self._pool.first_seen(self.committed)
        self._blocks = list(chain)
        for block in chain[self._first :]:
            self._pool.take(block)

    @property
    def table(self) -> list[int]:
        """The number of each block, GONE where the window has passed."""
        return [GONE] * self._first + [block.number for block in self._blocks[self._first :]]

    def extend(self, tokens: Ids[int]) -> None:
        """Give `tokens` places to be written to."""
        pool = self._pool
        if len(self.tokens) % pool.positions:
            last = self._blocks[-1]
            if last.ids is not None or last.users > 1:  # copy on write
                self._blocks[-1] = pool.copy(last)
                pool.drop(last)
        self.tokens.extend(tokens)
        while len(self._blocks) * pool.positions < len(self.tokens):
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
        other._blocks = list(self._blocks)
        other._first = self._first
        for block in self._blocks[self._first :]:
            self._pool.take(block)
        return other

    def free(self) -> None:
        """Let go of all blocks, the last one first: a beginning is of more use than an end."""
        for block in reversed(self._blocks[self._first :]):
            self._pool.drop(block)
        self._blocks, self.tokens, self.committed, self._first = [], [], 0, 0
