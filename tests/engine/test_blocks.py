"""Blocks against a naive model: every sequence always sees what it wrote, whatever else happens."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pocketlm.engine.blocks import GONE, BlockPool
from pocketlm.engine.sequence import Sequence
from pocketlm.errors import Error

SIZE = 4
WINDOWS = [None, 1, 3, 4, 6, 13]


class Ledger:
    """A cache that records what was written where; a released block is gone at once."""

    block_positions = SIZE
    block_bytes = 100

    def __init__(self, capacity=10**6):
        self.contents = {}
        self.capacity = capacity
        self.given = 0

    def allocate(self):
        if len(self.contents) >= self.capacity:
            raise RuntimeError("out of memory")
        self.given += 1
        self.contents[self.given] = {}
        return self.given

    def release(self, block):
        del self.contents[block]

    def copy(self, block):
        new = self.allocate()
        self.contents[new] = dict(self.contents[block])
        return new


def run(pool, sequence, tokens, key=None):
    """What the engine does: places, the step that writes them, commit.

    Keys and values of a position depend on all ids up to it and on the key: that is written.
    """
    start = len(sequence)
    sequence.extend(tokens)
    table = sequence.table
    for position in range(start, len(sequence)):
        written = (key, tuple(sequence.tokens[: position + 1]))
        pool.cache.contents[table[position // SIZE]][position % SIZE] = written
    sequence.commit()


def check(pool, sequence, key=None):
    """All that the next query would see is there, and is this sequence's own history."""
    length, table = len(sequence), sequence.table
    for position in range(0 if pool.window is None else max(0, length - pool.window + 1), length):
        number = table[position // SIZE]
        assert number != GONE
        written = (key, tuple(sequence.tokens[: position + 1]))
        assert pool.cache.contents[number][position % SIZE] == written


#: Few different ids, so that beginnings meet again.
TOKENS = st.builds(lambda a, b: [0] * a + [1] * b, st.integers(0, 2 * SIZE), st.integers(0, SIZE))


class Blocks(RuleBasedStateMachine):
    """Random appends, forks, rewinds, searches and frees; hashes good or nearly all the same."""

    @initialize(
        window=st.sampled_from(WINDOWS),
        budget=st.sampled_from([0, 300, 1200, 10**6]),
        digests=st.sampled_from([1, 2, 7, None]),
    )
    def begin(self, window, budget, digests):
        digest = {} if digests is None else {"digest": lambda a, b: bytes([sum(a + b) % digests])}
        self.pool = BlockPool(Ledger(), budget=budget, window=window, **digest)
        self.live: list[tuple[Sequence, int]] = []

    @rule(tokens=TOKENS, key=st.integers(0, 1))
    def find(self, tokens, key):
        sequence = Sequence.begin(self.pool, tokens, key)
        assert sequence.tokens == tokens[: len(sequence)]
        self.live.append((sequence, key))

    @precondition(lambda self: self.live)
    @rule(data=st.data(), tokens=TOKENS)
    def append(self, data, tokens):
        sequence, key = data.draw(st.sampled_from(self.live))
        run(self.pool, sequence, tokens, key)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), token=st.integers(0, 1), draft=TOKENS)
    def draft(self, data, token, draft):
        """A step with drafts, of which the first ones stay."""
        sequence, key = data.draw(st.sampled_from(self.live))
        start, right = len(sequence), data.draw(st.integers(0, len(draft)))
        sequence.extend([token], len(draft))
        ids = [*sequence.tokens, *draft]
        for position in range(start, len(ids)):
            number = sequence.table[position // SIZE]
            self.pool.cache.contents[number][position % SIZE] = (key, tuple(ids[: position + 1]))
        sequence.commit()
        sequence.extend(draft[:right])
        sequence.commit()

    @precondition(lambda self: self.live)
    @rule(data=st.data(), tokens=TOKENS)
    def fail(self, data, tokens):
        """A step that did not come to its end is taken back."""
        sequence, _ = data.draw(st.sampled_from(self.live))
        before = list(sequence.tokens)
        sequence.extend(tokens)
        sequence.rewind(len(before))
        assert sequence.tokens == before

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def rewind(self, data):
        sequence, _ = data.draw(st.sampled_from(self.live))
        length = data.draw(st.integers(0, len(sequence)))
        expected = sequence.tokens[:length]
        sequence.rewind(length)
        assert sequence.tokens == expected[: len(sequence)]
        if self.pool.window is None:
            assert len(sequence) == length

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def fork(self, data):
        sequence, key = data.draw(st.sampled_from(self.live))
        self.live.append((sequence.fork(), key))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def free(self, data):
        index = data.draw(st.integers(0, len(self.live) - 1))
        self.live.pop(index)[0].free()

    @invariant()
    def everyone_sees_its_own(self):
        if hasattr(self, "pool"):
            for sequence, key in self.live:
                check(self.pool, sequence, key)

    @invariant()
    def memory_is_accounted_for(self):
        if hasattr(self, "pool"):
            held = {n for sequence, _ in self.live for n in sequence.table if n != GONE}
            assert self.pool.in_use == len(held)
            assert len(self.pool.cache.contents) == len(held) + self.pool.idle
            limit = self.pool._limit
            assert self.pool.idle == 0 or len(self.pool.cache.contents) <= limit

    def teardown(self):
        if hasattr(self, "pool"):
            for sequence, _ in self.live:
                sequence.free()
            self.pool.clear()
            assert self.pool.cache.contents == {}


Blocks.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestBlocks = Blocks.TestCase


def pool_of(**options):
    return BlockPool(Ledger(options.pop("capacity", 10**6)), **{"budget": 10**6, **options})


def test_a_conversation_that_grows_finds_its_blocks():
    pool = pool_of()
    first = Sequence.begin(pool)
    run(pool, first, range(10))
    first.free()
    again = Sequence.begin(pool, range(12))
    assert len(again) == 8  # two whole blocks; the third was not full
    run(pool, again, range(8, 12))
    check(pool, again)


def test_equal_ids_share_memory_while_in_use():
    pool = pool_of()
    one, two = Sequence.begin(pool), Sequence.begin(pool)
    run(pool, one, range(8))
    run(pool, two, range(8))
    assert one.table == two.table
    assert pool.in_use == 2


def test_forks_share_until_one_writes():
    pool = pool_of()
    one = Sequence.begin(pool)
    run(pool, one, range(6))
    two = one.fork()
    assert pool.in_use == 2
    run(pool, one, [6])
    run(pool, two, [60])
    check(pool, one)
    check(pool, two)
    assert pool.in_use == 3


def test_writing_after_a_rewind_leaves_what_others_may_find():
    pool = pool_of()
    one = Sequence.begin(pool)
    run(pool, one, range(8))
    one.rewind(6)
    run(pool, one, [60])
    check(pool, one)
    found = Sequence.begin(pool, range(8))
    assert len(found) == 8
    check(pool, found)


def test_a_collision_before_equal_blocks_shares_nothing():
    """Two beginnings with one hash, continued by equal ids: the continuations differ."""
    pool = pool_of(digest=lambda before, ids: ids if ids == bytes(len(ids)) else b"")
    one, two = Sequence.begin(pool), Sequence.begin(pool)
    run(pool, one, [1] * 4 + [0] * 4)
    run(pool, two, [2] * 4 + [0] * 4)
    check(pool, two)
    assert set(one.table).isdisjoint(two.table)


def test_memory_comes_back_to_a_block_whose_followers_live_on():
    pool = pool_of(window=5, budget=0)
    one = Sequence.begin(pool)
    run(pool, one, range(16))  # holds on to its last blocks; the first ones are gone
    two = Sequence.begin(pool)
    run(pool, two, range(7))
    assert len(Sequence.begin(pool, range(4))) == 4  # the first block is back, and found by its ids
    check(pool, one)
    check(pool, two)


def test_another_key_is_another_prefix():
    pool = pool_of()
    one = Sequence.begin(pool, key=0)
    run(pool, one, range(8), 0)
    assert len(Sequence.begin(pool, range(8), key=1)) == 0
    assert len(Sequence.begin(pool, range(8), key=0)) == 8


def test_a_collision_shares_nothing():
    pool = pool_of(digest=lambda before, ids: b"")
    one, two = Sequence.begin(pool), Sequence.begin(pool)
    run(pool, one, [1] * 8)
    run(pool, two, [2] * 8)
    one.free()
    assert len(Sequence.begin(pool, [2] * 8)) == 0
    check(pool, two)


def test_least_recently_used_goes_first_and_an_end_before_its_beginning():
    pool = pool_of(budget=400)
    for start in (0, 100):
        sequence = Sequence.begin(pool)
        run(pool, sequence, range(start, start + 12))
        sequence.free()
    assert len(Sequence.begin(pool, range(12))) == 4  # of the older one the beginning is left
    assert len(Sequence.begin(pool, range(100, 112))) == 12


@pytest.mark.parametrize("window", [5, 8])
def test_a_window_lets_go_and_rewinding_finds_what_lives_on(window):
    pool = pool_of(window=window)
    sequence = Sequence.begin(pool)
    run(pool, sequence, range(40))
    assert pool.in_use <= -(-window // SIZE) + 1
    sequence.rewind(13)
    assert len(sequence) == 13
    check(pool, sequence)


def test_rewinding_to_what_is_gone_starts_where_all_is_there():
    pool = pool_of(window=5, budget=0)  # nothing lives on
    sequence = Sequence.begin(pool)
    run(pool, sequence, range(40))
    sequence.rewind(13)
    assert len(sequence) == 0
    run(pool, sequence, range(13))
    check(pool, sequence)


def test_a_windowed_prefix_is_found_though_its_beginning_is_gone():
    pool = pool_of(window=5, budget=400)
    sequence = Sequence.begin(pool)
    run(pool, sequence, range(40))
    sequence.free()
    again = Sequence.begin(pool, range(40))
    assert len(again) == 40
    check(pool, again)


def test_without_memory_idle_blocks_go_first_then_it_is_said():
    pool = pool_of(capacity=3)
    first = Sequence.begin(pool)
    run(pool, first, range(12))
    first.free()
    second = Sequence.begin(pool)
    run(pool, second, range(50, 62))
    with pytest.raises(Error, match="no memory for another 100 bytes of KV cache"):
        second.extend([1])
    second.rewind(12)
    check(pool, second)
