"""Which cache blocks hold which token ids.

A block holds the keys and values of a fixed number of positions. Full blocks are found by a chain
of hashes over the ids before and in them; the ids themselves are compared, so that a hash only
finds and never decides. Blocks that no sequence uses stay for reuse, least recently used first to
go. Where a prefix cache is given, a chain that ends in memory goes on with blocks on disk.

It knows token ids and block numbers. It does not know what a block's memory or a file looks like,
nor what the ids mean. A pool serves one cache (of one type, for one model); whatever else makes
equal ids mean different contents (the LongRoPE factor set, an adapter) is a sequence's `key`.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from pocketlm.errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence as Ids

    from pocketlm._native import KVCache
    from pocketlm.engine.prefixes import Place, PrefixCache

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
    `prefixes` keeps blocks of the same cache on disk.
    """

    def __init__(
        self,
        cache: KVCache,
        *,
        budget: int,
        window: int | None = None,
        prefixes: PrefixCache | None = None,
        digest: Callable[[bytes, bytes], bytes] = _digest,
    ) -> None:
        """Begin without blocks. `digest(of the blocks before, ids)` finds a block."""
        self.cache = cache
        self.positions: int = cache.block_positions
        self.window = window
        self._prefixes = prefixes
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

    def root(self, key: Hashable) -> Block:
        """What comes before the first block of any sequence with this `key`."""
        if key not in self._roots:
            root = Block(GONE)
            root.ids = repr(key).encode()
            root.digest = self._digest(b"", root.ids)
            self._roots[key] = root
        return self._roots[key]

    def claim(self, tokens: Ids[int], root: Block) -> list[Block]:
        """The longest chain of blocks that holds the first of `tokens` and can be continued.

        Blocks of it that the next query sees have one more user.
        """
        chain = self._known(tokens, root)
        for block in chain:  # none of them goes while others are brought back
            if block.number != GONE:
                self.take(block)
        count = self.usable(chain)
        if self._prefixes is not None and count < len(tokens) // self.positions:
            count = max(count, self._bring(self._prefixes, chain, tokens, root))
        first = self.first_seen(count * self.positions)
        # Those before a window are of the more use the nearer they are to it, for a rewind; of
        # those that lead elsewhere a beginning is of more use than an end.
        for block in (*chain[:first], *reversed(chain[count:])):
            if block.number != GONE:
                self.drop(block)
        return chain[:count]

    def save(self, chain: list[Block], tokens: Ids[int], root: Block) -> None:
        """Have blocks of a claimed chain, that of `tokens`, kept on disk where that is wanted."""
        if self._prefixes is not None:
            whole = chain[: len(tokens) // self.positions]
            self._prefixes.save(tokens, root.ids or b"", [block.number for block in whole])

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
        return self._usable(block.number != GONE for block in chain)

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

    def _known(self, tokens: Ids[int], parent: Block) -> list[Block]:
        """The blocks that hold the first of `tokens`, be their memory there or gone."""
        chain: list[Block] = []
        for start in range(0, len(tokens) - self.positions + 1, self.positions):
            ids = array("i", tokens[start : start + self.positions]).tobytes()
            block = self._index.get(self._digest(parent.digest, ids))
            if block is None or block.parent is not parent or block.ids != ids:
                break
            chain.append(block)
            parent = block
        return chain

    def _bring(
        self, prefixes: PrefixCache, chain: list[Block], tokens: Ids[int], root: Block
    ) -> int:
        """Go on with `chain` as far as blocks on disk allow; returns how many can be continued."""
        size = self.positions
        places = prefixes.places(tokens, root.ids or b"")
        failed: set[int] = set()

        def here(i: int) -> bool:
            if i < len(chain) and chain[i].number != GONE:
                return True
            return i not in failed and places[i].exists()

        while True:
            count = self._usable(map(here, range(len(places))))
            for i in range(len(chain), count):
                chain.append(self._absent(chain[-1] if i else root, tokens[i * size :][:size]))
            seen = range(self.first_seen(count * size), count)
            wanted = [i for i in seen if chain[i].number == GONE]
            if not wanted:
                return count
            for i in wanted:
                block = self._read(prefixes, places[i])
                if block is None:
                    failed.add(i)
                else:
                    ids = tokens[i * size : (i + 1) * size]
                    chain[i] = self.seal(block, chain[i - 1] if i else root, ids)

    def _read(self, prefixes: PrefixCache, place: Place) -> Block | None:
        """A new block with what is kept at `place`, if that is sound and there is memory for it."""
        with suppress(Error):
            block = self.allocate()
            if prefixes.read(place, block.number):
                return block
            self.drop(block)
        return None

    def _absent(self, parent: Block, tokens: Ids[int]) -> Block:
        """A sealed block without memory, for later ones to come after."""
        block = Block(GONE)
        block.users = 0
        block.parent, block.ids = parent, array("i", tokens).tobytes()
        block.digest = self._digest(parent.digest, block.ids)
        self._index.setdefault(block.digest, block)
        return block

    def _usable(self, here: Iterable[bool]) -> int:
        """How many blocks of a chain can be continued, of which these are `here`."""
        best = present = 0
        for count, there in enumerate(here, 1):
            if there:
                present += 1
            elif self.window is None:
                break
            else:
                present = 0
            if present >= count - self.first_seen(count * self.positions):
                best = count
        return best

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
                    "shorter context, or a smaller cache (cache_type='q4')"
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
