"""Blocks on disk: what was processed is found by the next run, and nothing but that ever is."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from array import array
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from models import checkpoints
from pocketlm import _native, models
from pocketlm.engine import prefixes
from pocketlm.engine.blocks import GONE, BlockPool
from pocketlm.engine.engine import Engine
from pocketlm.engine.prefixes import PrefixCache, PrefixFolder, forget, prefix_folder
from pocketlm.engine.runtime import Runtime
from pocketlm.engine.sampling import SamplingParameters, Token
from pocketlm.engine.sequence import Sequence
from pocketlm.errors import ParameterError
from pocketlm.formats.open import open_checkpoint

SIZE = 32
NAMES = ["phi3 with a window", "phi3 with longrope", "llama, grouped and tied"]
PROMPT = checkpoints.tokens(110, seed=1)
SAMPLED = {"temperature": 1.0, "seed": 5, "max_tokens": 8, "logprobs": 9}


@pytest.fixture(autouse=True)
def least(monkeypatch):
    """The contexts here are shorter than what is worth keeping."""
    monkeypatch.setattr(prefixes, "LEAST", SIZE)


@pytest.fixture(scope="module")
def checkpoint_folders(tmp_path_factory):
    made = {name: tmp_path_factory.mktemp("model") for name in NAMES}
    for name, folder in made.items():
        checkpoints.save(name, folder)
    return made


@pytest.fixture
def home(tmp_path):
    return tmp_path / "prefixes"


def folder_of(home, files="files", limit=10**9):
    return PrefixFolder(home / ("0" * 32), files, limit)


class Runs:
    """Runs of one model: each has an engine of its own and an answer, and ends."""

    def __init__(self, model, home):
        self.model = model
        self.home = home

    def __call__(self, prompt=PROMPT, *, files="files", limit=10**9, sampled=SAMPLED, **options):
        with open_checkpoint(self.model) as checkpoint:
            program = models.build(checkpoint.config, checkpoint.tensors)
            runtime = Runtime(program, checkpoint.tensors, threads=1, **options)
            folder = folder_of(self.home, files, limit)
            kept = PrefixCache(folder, runtime.cache, runtime.identity)
            engine = Engine(runtime, program.context, prefixes=kept)
        with engine.generate(prompt, SamplingParameters(**sampled)) as request:
            tokens = [event for event in request if isinstance(event, Token)]
        engine.close()
        assert engine.blocks.in_use == 0
        assert runtime.cache.blocks_in_use == 0
        return tokens, request.cached_tokens

    def files(self):
        """Those of finished blocks, from the first one on: a later one holds more ids."""
        return sorted(self.home.glob("*/*.kv"), key=lambda path: path.stat().st_size)


@pytest.fixture(params=NAMES)
def run(request, checkpoint_folders, home):
    return Runs(checkpoint_folders[request.param], home)


@pytest.fixture
def llama(checkpoint_folders, home):
    return Runs(checkpoint_folders["llama, grouped and tied"], home)


@pytest.mark.parametrize("cache_type", ["f16", "q8"])
def test_the_next_run_finds_what_was_processed_and_says_the_same(run, cache_type):
    first, fresh = run(cache_type=cache_type)
    again, cached = run(cache_type=cache_type)
    assert (fresh, cached) == (0, 96)
    assert again == first  # log-probabilities too, to the last bit


def test_a_conversation_goes_on(run):
    said, _ = run(PROMPT[:60], sampled={"max_tokens": 40})
    grown = [*PROMPT[:60], *(token.id for token in said), 5, 6, 7]
    again, cached = run(grown)
    assert cached == 96  # the answer is there as well
    shutil.rmtree(run.home)
    expected, fresh = run(grown)
    assert fresh == 0
    assert again == expected


def test_what_differs_is_not_found(llama):
    run = llama
    run(cache_type="q8")
    other = list(PROMPT)
    other[40] += 1
    assert run(other)[1] == 32
    assert run(PROMPT[:40])[1] == 32
    assert run(PROMPT[1:])[1] == 0
    assert run(files="changed")[1] == 0
    for cache_type in ("f16", "f16/q8", "q8/f16"):  # the last two of one size
        assert run(cache_type=cache_type)[1] == 0
    assert run(quantize="q8_0")[1] == 0
    assert run(cache_type="q8")[1] == 96


def test_the_factor_sets_of_longrope_are_kept_apart(checkpoint_folders, home, tmp_path):
    """Texts of 32 tokens take the short set and longer ones the long set, also for these 32."""
    run = Runs(checkpoint_folders["phi3 with longrope"], home)
    expected, _ = Runs(run.model, tmp_path / "empty")(PROMPT[:60])
    run(PROMPT[:32], sampled={"max_tokens": 1})
    assert len(run.files()) == 1
    assert run(PROMPT[:60]) == (expected, 0)
    assert run(PROMPT[:60]) == (expected, 32)


def test_short_texts_are_not_kept(llama, monkeypatch):
    monkeypatch.setattr(prefixes, "LEAST", 256)
    llama()
    assert llama.files() == []
    assert not llama.home.exists()


def test_nobody_else_may_read_it(llama):
    before = os.umask(0)
    try:
        llama()
    finally:
        os.umask(before)
    for path in [llama.home, *llama.home.iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert llama.files()
    for path in llama.files():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


# Damage


def flip(at):
    def damage(path):
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)

    return damage


def truncate(length):
    return lambda path: os.truncate(path, length if length >= 0 else path.stat().st_size + length)


def link(path):
    copy = path.with_name("sound")
    path.rename(copy)
    path.symlink_to(copy)


def replace_by(make):
    def damage(path):
        path.unlink()
        make(path)

    return damage


def say_more(path):
    """A count of ids far beyond the file's end."""
    data = bytearray(path.read_bytes())
    data[40:48] = b"\xff" * 8
    path.write_bytes(data)


#: Of the second block: before its checksum come what it belongs to and 64 ids.
HEAD = 48 + 4 * 2 * SIZE
DAMAGES = {
    "empty": truncate(0),
    "only magic": truncate(8),
    "half a head": truncate(60),
    "a byte short": truncate(-1),
    "a byte long": lambda path: path.open("ab").write(b"\0"),
    "huge": lambda path: os.truncate(path, 1 << 40),
    "another magic": flip(0),
    "another version": flip(7),
    "another owner": flip(8),
    "another count": flip(40),
    "a huge count": say_more,
    "another id": flip(48),
    "another last id": flip(HEAD - 1),
    "another checksum": flip(HEAD),
    "a bit in the first number": flip(HEAD + 4),
    "a bit in the last number": flip(-1),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a link": link,
    "a pipe": replace_by(os.mkfifo),
    "a folder": replace_by(os.mkdir),
    "gone": os.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_a_miss_and_is_made_again(llama, damage):
    expected, _ = llama()
    sound = {path: path.read_bytes() for path in llama.files()}
    path = llama.files()[1]
    damage(path)
    assert llama() == (expected, 32)
    if not path.is_dir():  # which is not ours to remove
        assert {path: path.read_bytes() for path in sound} == sound
        assert llama() == (expected, 96)


def test_the_wrong_block_under_the_right_name_is_a_miss(llama):
    expected, _ = llama()
    other = [*PROMPT[:40], 3, *PROMPT[41:]]
    llama(other)
    second = llama.files()[1].stat().st_size
    paths = [path for path in llama.files() if path.stat().st_size == second]
    by_ids = {path.read_bytes()[48:HEAD]: path for path in paths}
    ours, theirs = (by_ids[array("i", ids[: 2 * SIZE]).tobytes()] for ids in (PROMPT, other))
    shutil.copy(theirs, ours)
    assert llama() == (expected, 32)
    assert llama() == (expected, 96)


def small():
    return _native.KVCache(1, 1, 8), "small"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A small cache, one block of it saved, its place and the file's bytes."""
    cache, name = small()
    kept = PrefixCache(folder_of(tmp_path_factory.mktemp("kept")), cache, name)
    block = cache.allocate()
    cache.data(block)[:] = np.random.default_rng(0).integers(0, 256, cache.block_bytes)
    ids = list(range(300))
    kept.save(ids, b"key", [block])
    kept.close()
    place = kept.places(ids, b"key")[0]
    return kept, cache, place, Path(place.path).read_bytes(), cache.data(block).copy()


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_a_file_holds_only_what_was_saved_is_read(kept, data):
    prefixes, cache, place, sound, block = kept
    mutated = bytearray(sound)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(mutated)))
        length = data.draw(st.sampled_from([0, 1, 4, 100, 5000]))
        mutated[at : at + length] = data.draw(
            st.binary(max_size=8) | st.just(mutated[at:][:length])
        )
    Path(place.path).write_bytes(mutated)
    number = cache.allocate()
    found = prefixes.read(place, number)
    assert found == (mutated == sound)
    assert place.exists() == found
    if found:
        np.testing.assert_array_equal(cache.data(number), block)
    cache.release(number)


# Bounds and company


def total(home):
    return sum(path.stat().st_size for path in home.glob("*/*"))


def test_no_more_bytes_than_allowed_least_recently_used_first(llama):
    llama()
    size = total(llama.home)
    block = size // len(llama.files())
    other = checkpoints.tokens(110, seed=2)
    limit = size + block * 3 // 2
    llama(other, limit=limit)
    assert total(llama.home) <= limit
    assert llama(other, limit=limit)[1] == 96
    assert llama(limit=limit)[1] == 32  # of the older one the beginning was left
    llama(limit=2 * block)  # less than one text
    assert 0 < total(llama.home) <= 2 * block
    assert llama(limit=2 * block)[1] == 64


def test_room_is_made_before_it_is_used(llama, monkeypatch):
    llama()
    limit = total(llama.home)
    write, sizes = prefixes._write, []

    def watched(*arguments):
        write(*arguments)
        sizes.append(total(llama.home))

    monkeypatch.setattr(prefixes, "_write", watched)
    llama(checkpoints.tokens(110, seed=2), limit=limit)
    assert len(sizes) == 3
    assert max(sizes) <= limit


def test_what_is_used_stays(llama):
    llama()
    limit = 2 * total(llama.home)
    llama(checkpoints.tokens(110, seed=2), limit=limit)
    llama(limit=limit)
    llama(checkpoints.tokens(110, seed=3), limit=limit)
    assert llama(limit=limit)[1] == 96
    assert llama(checkpoints.tokens(110, seed=2), limit=limit)[1] < 96


def test_files_of_others_are_neither_counted_nor_removed(llama):
    others = [
        llama.home / "letter.txt",
        llama.home / "letters" / f"{'a' * 32}.kv",
        llama.home / ("0" * 32) / "letter.kv",
    ]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(10**6))
    llama()
    size = sum(path.stat().st_size for path in llama.files() if path.name != "letter.kv")
    llama(checkpoints.tokens(110, seed=2), limit=size)
    assert llama(checkpoints.tokens(110, seed=2), limit=size)[1] == 96
    assert all(path.stat().st_size == 10**6 for path in others)


def test_what_a_killed_program_left_goes_with_the_oldest(llama):
    llama()
    size = total(llama.home)
    left = llama.files()[0].with_name("tmpabc.kv")
    left.write_bytes(bytes(size))
    os.utime(left, (0, 0))
    llama(limit=size)
    assert not left.exists()
    assert llama(limit=size)[1] == 96


WRITER = """
import random, sys
from pathlib import Path
from pocketlm import _native
from pocketlm.engine.prefixes import PrefixCache, PrefixFolder

cache = _native.KVCache(1, 1, 8)
kept = PrefixCache(PrefixFolder(Path(sys.argv[1]), "files", int(sys.argv[2])), cache, "small")
draw = random.Random(int(sys.argv[3]))
for _ in range(60):
    ids = [draw.randrange(5)] * 320
    places = kept.places(ids, b"")
    blocks = [cache.allocate() for _ in places]
    for i, (place, block) in enumerate(zip(places, blocks)):
        content = 16 * ids[0] + i
        if kept.read(place, block):
            assert (cache.data(block) == content).all()
        cache.data(block)[:] = content
    kept.save(ids, b"", blocks)
    kept.close()
    for block in blocks:
        cache.release(block)
"""


def test_several_processes_write_and_remove_at_once(home):
    limit = 40_000
    folder = folder_of(home, limit=limit)
    command = [sys.executable, "-c", WRITER, folder.path, str(limit)]
    writers = [subprocess.Popen([*command, str(seed)]) for seed in range(4)]
    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    assert not list(home.glob("*/tmp*"))
    assert 0 < total(home) <= limit
    cache, name = small()
    kept = PrefixCache(folder, cache, name)
    places = [place for token in range(5) for place in kept.places([token] * 320, b"")]
    there = [place for place in places if place.exists()]
    assert len(there) == len(list(home.glob("*/*")))
    assert all(kept.read(place, cache.allocate()) for place in there)  # all of them are sound


def test_deleting_everything_while_it_runs(run):
    expected, _ = run()
    ended = threading.Event()

    def delete():
        while not ended.is_set():
            shutil.rmtree(run.home, ignore_errors=True)

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        for _ in range(20):
            assert run()[0] == expected
    finally:
        ended.set()
        thread.join()


def test_a_place_that_cannot_be_written_is_no_error(llama, tmp_path):
    expected, _ = llama()
    tmp_path.joinpath("file").write_text("")
    llama.home = tmp_path / "file" / "prefixes"
    assert llama() == (expected, 0)


def test_a_full_disk_is_no_error(home):
    """In a process of its own, which may write so much and no more."""
    code = """
import resource, signal, sys
from pathlib import Path
from pocketlm import _native
from pocketlm.engine.prefixes import PrefixCache, PrefixFolder

cache = _native.KVCache(30, 3, 64)
kept = PrefixCache(PrefixFolder(Path(sys.argv[1]), "files", 10**9), cache, "full")
resource.setrlimit(resource.RLIMIT_FSIZE, (cache.block_bytes // 2, resource.RLIM_INFINITY))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
kept.save(range(300), b"", [cache.allocate() for _ in range(9)])
kept.close()
"""
    folder = folder_of(home).path
    result = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, check=True)
    assert result.stderr == b""
    assert list(folder.iterdir()) == []


# The window


def test_of_a_window_only_what_is_seen_comes_back(checkpoint_folders, home):
    run = Runs(checkpoint_folders["phi3 with a window"], home)
    expected, _ = run()
    first, second, third = run.files()
    first.unlink()
    second.unlink()
    assert run() == (expected, 96)  # 20 positions before the 96th lie in the third block
    third.unlink()
    assert run() == (expected, 0)


# Restarts and damage at any time, against a naive model


def history(sequence_tokens, key, position):
    """What a block holds of a position: it depends on all ids up to it, and on the key."""
    ids = array("i", sequence_tokens[: position + 1]).tobytes()
    return np.frombuffer(blake2b(ids + bytes([key]), digest_size=32).digest(), np.uint8)


class Restarts(RuleBasedStateMachine):
    """Texts that meet again in pools that come and go, above files that are spoilt."""

    @initialize(
        window=st.sampled_from([None, 5, 40, 100]),
        budget=st.sampled_from([0, 6, 10**6]),
        limit=st.sampled_from([0, 10_000, 10**9]),
        digests=st.sampled_from([2, None]),
    )
    def begin(self, window, budget, limit, digests):
        self.least, prefixes.LEAST = prefixes.LEAST, 0
        self.home = Path(tempfile.mkdtemp())
        digest = {} if digests is None else {"digest": lambda a, b: bytes([sum(a + b) % digests])}
        self.options = {"window": window, **digest}
        self.budget, self.limit = budget, limit
        self.open()

    def open(self):
        self.cache, name = small()
        self.kept = PrefixCache(folder_of(self.home, limit=self.limit), self.cache, name)
        budget = self.budget * self.cache.block_bytes
        self.pool = BlockPool(self.cache, budget=budget, prefixes=self.kept, **self.options)
        self.live = []

    def close(self):
        for sequence, _ in self.live:
            sequence.free()
        self.pool.clear()
        assert self.pool.in_use == self.pool.idle == 0
        self.kept.close()
        assert self.cache.blocks_in_use == 0
        files = [path.stat().st_size for path in self.home.glob("*/*.kv") if path.is_file()]
        assert sum(files) <= self.limit

    @rule(
        counts=st.lists(st.sampled_from([1, 32, 64, 100]), min_size=1, max_size=3),
        key=st.integers(0, 1),
        then=st.sampled_from(["stay", "end", "restart"]),
    )
    def ask(self, counts, key, then):
        tokens = [i % 2 for i, count in enumerate(counts) for _ in range(count)]
        sequence = Sequence.begin(self.pool, tokens, key)
        assert sequence.tokens == tokens[: len(sequence)]
        self.live.append((sequence, key))
        self.write(sequence, key, tokens[len(sequence) :])
        if then != "stay":
            self.end(-1)
        if then == "restart":
            self.close()
            self.open()

    @precondition(lambda self: self.live)
    @rule(
        data=st.data(),
        back=st.sampled_from([0, 0, 1, 40, 120]),
        count=st.sampled_from([1, 31, 70]),
        token=st.integers(0, 1),
        end=st.booleans(),
    )
    def go_on(self, data, back, count, token, end):
        at = data.draw(st.integers(0, len(self.live) - 1))
        sequence, key = self.live[at]
        sequence.rewind(max(0, len(sequence) - back))
        self.write(sequence, key, [token] * count)
        if end:
            self.end(at)

    def end(self, at):
        sequence, _ = self.live.pop(at)
        sequence.save()
        sequence.free()
        self.kept.close()

    def write(self, sequence, key, tokens):
        start = len(sequence)
        sequence.extend(tokens)
        for position in range(start, len(sequence)):
            block = self.cache.data(sequence.table[position // SIZE])
            row = history(sequence.tokens, key, position)
            block[32 * (position % SIZE) :][:32] = row
        sequence.commit()

    @precondition(lambda self: any(self.home.glob("*/*.kv")))
    @rule(
        which=st.integers(0, 99),
        other=st.integers(0, 99),
        damage=st.sampled_from(["gone", "empty", "other", "changed"]),
    )
    def spoil(self, which, other, damage):
        files = sorted(self.home.glob("*/*.kv"))
        path = files[which % len(files)]
        data = files[other % len(files)].read_bytes()[: path.stat().st_size]  # the bound holds
        path.unlink()
        if damage != "gone":
            path.write_bytes({"empty": b"", "other": data, "changed": data[:-1] + b"?"}[damage])

    @invariant()
    def everyone_sees_its_own(self):
        for sequence, key in getattr(self, "live", ()):
            length, table = len(sequence), sequence.table
            seen = 0 if self.pool.window is None else max(0, length - self.pool.window + 1)
            for position in range(seen, length):
                assert table[position // SIZE] != GONE
                row = self.cache.data(table[position // SIZE])[32 * (position % SIZE) :][:32]
                assert (row == history(sequence.tokens, key, position)).all()

    def teardown(self):
        if hasattr(self, "pool"):
            self.close()
            prefixes.LEAST = self.least
            shutil.rmtree(self.home, ignore_errors=True)


Restarts.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestRestarts = Restarts.TestCase


# Which model, and how much


def test_a_changed_model_is_another(tmp_path, home):
    model = tmp_path / "model"
    model.mkdir()
    weights = model / "model.safetensors"
    weights.write_bytes(b"one")
    (model / "config.json").write_text("{}")
    known = [prefix_folder(home, model)]
    assert prefix_folder(home, model) == known[0]
    os.utime(weights, ns=(5, 5))
    known.append(prefix_folder(home, model))
    weights.write_bytes(b"two")  # as long, and made to look as old
    os.utime(weights, ns=(5, 5))
    known.append(prefix_folder(home, model))
    (model / "config.json").write_text('{"rope_theta": 1}')
    known.append(prefix_folder(home, model))
    (model / "adapter.safetensors").write_bytes(b"")
    known.append(prefix_folder(home, model))
    assert len({found.files for found in known}) == len(known)
    assert len({found.path for found in known}) == 1
    assert prefix_folder(home, weights).path != known[0].path
    weights.unlink()
    assert prefix_folder(home, tmp_path / "none") is not None  # to be told by opening it


def test_all_parts_of_a_split_file_count(tmp_path, home):
    parts = [tmp_path / f"m-0000{n}-of-00002.gguf" for n in (1, 2)]
    for part in parts:
        part.write_bytes(b"one")
    before = prefix_folder(home, parts[0])
    os.utime(parts[1], ns=(5, 5))
    assert prefix_folder(home, parts[0]) != before


def test_forgetting_a_model_leaves_the_others(tmp_path, home):
    for name in ("one.gguf", "two.gguf"):
        folder = prefix_folder(home, tmp_path / name)
        folder.path.mkdir(parents=True)
        (folder.path / f"{'a' * 32}.kv").write_bytes(b"block")
    forget(home, tmp_path / "one.gguf")
    assert [path.parent for path in home.glob("*/*")] == [folder.path]
    assert list(home.iterdir()) == [folder.path]
    forget(home, tmp_path / "never.gguf")


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        ("", prefixes.LIMIT),
        ("1000", 1000),
        ("500MB", 500 * 10**6),
        ("1.5 gb", 1500 * 10**6),
        ("2GiB", 2 << 30),
    ],
)
def test_the_limit_by_the_environment(monkeypatch, tmp_path, said, limit):
    monkeypatch.setenv("POCKETLM_PREFIX_CACHE", said)
    assert prefix_folder(tmp_path, tmp_path / "model").limit == limit


def test_no_limit_but_none_and_no_size(monkeypatch, tmp_path):
    monkeypatch.setenv("POCKETLM_PREFIX_CACHE", "0")
    assert prefix_folder(tmp_path, tmp_path / "model") is None
    for wrong in ("-1", "much", "1e9", "1PB", "9" * 16, "٣"):
        monkeypatch.setenv("POCKETLM_PREFIX_CACHE", wrong)
        with pytest.raises(ParameterError, match="POCKETLM_PREFIX_CACHE is"):
            prefix_folder(tmp_path, tmp_path / "model")
