"""Requests run together, cut, cancelled and interrupted: each writes the text it would alone.

The models are tiny random ones (that their logits are right is `parity`'s subject); chunks are
small, so that little text crosses all the borders that long text would.
"""

import gc
import itertools
import signal
import threading

import gguf
import numpy as np
import pytest

from models import checkpoints
from pocketlm import _native, models
from pocketlm.engine import engine as engine_module
from pocketlm.engine.engine import Engine
from pocketlm.engine.request import Finish, Notice, Progress
from pocketlm.engine.runtime import Runtime
from pocketlm.engine.sampling import SamplingParameters, Token
from pocketlm.errors import ContextError, ModelFileError, ParameterError
from pocketlm.formats.open import open_checkpoint

NAMES = ["phi3 with a window", "phi3 with longrope", "llama, grouped and tied"]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(engine_module, "CHUNK", 16)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {name: tmp_path_factory.mktemp("model") for name in NAMES}
    for name, folder in made.items():
        checkpoints.save(name, folder)
    return made


def open_engine(folder, **options):
    with open_checkpoint(folder) as checkpoint:
        program = models.build(checkpoint.config, checkpoint.tensors)
        return Engine(Runtime(program, checkpoint.tensors, **options), program.context)


@pytest.fixture(params=NAMES)
def engine(request, folders):
    made = open_engine(folders[request.param], threads=1)
    yield made
    assert made.blocks.in_use == 0
    made.close()
    assert made.runtime.cache.blocks_in_use == 0


@pytest.fixture
def llama(folders):
    return open_engine(folders["llama, grouped and tied"], threads=1)


def events(engine, prompt, stop_ids=frozenset(), **options):
    with engine.generate(prompt, SamplingParameters(**options), stop_ids) as request:
        return list(request), request


def answer(engine, prompt, **options):
    return events(engine, prompt, **options)[1].generated


@pytest.mark.parametrize("options", [{}, {"quantize": "q4_0", "cache_type": "q8"}])
@pytest.mark.parametrize("name", NAMES)
def test_logits_are_the_same_to_the_bit_on_every_processor(folders, name, options):
    prompt = checkpoints.tokens(90, seed=2)
    found = {}
    for instruction_set in _native.instruction_sets():
        engine = open_engine(folders[name], threads=1, instruction_set=instruction_set, **options)
        found[instruction_set] = np.array(engine.logits(prompt))
        engine.close()
    portable = found.pop("portable")
    for instruction_set, logits in found.items():
        np.testing.assert_array_equal(logits, portable, instruction_set)


def test_a_real_model_too(smollm2):
    """Of a prompt whose best two tokens are as good as equal."""
    found = []
    for instruction_set in _native.instruction_sets():
        with open_checkpoint(smollm2) as checkpoint:
            program = models.build(checkpoint.config, checkpoint.tensors)
            runtime = Runtime(
                program, checkpoint.tensors, threads=2, instruction_set=instruction_set
            )
            engine = Engine(runtime, 256)
        found.append(engine.logits([504, 3575, 282, 4649, 314, 7042, 30, 198, 198, 504]))
        engine.close()
    for logits in found[1:]:
        np.testing.assert_array_equal(logits, found[0])


PROMPT = checkpoints.tokens(50, seed=1)
SAMPLED = {"temperature": 1.0, "top_p": 0.9, "seed": 5, "max_tokens": 30}


def test_events_in_their_order(llama):
    found, request = events(llama, PROMPT, max_tokens=3)
    assert found[:4] == [Progress(n, 50) for n in (16, 32, 48, 50)]
    assert [type(event) for event in found[4:]] == [Token, Token, Token, Finish]
    assert [event.id for event in found[4:7]] == request.generated
    assert request.finish_reason == "length"
    times = request.timings
    assert 0 < times.prompt_s <= times.first_token_s
    assert times.generation_s > 0


def test_a_stop_token_ends_the_text_and_is_no_part_of_it(llama):
    tokens = answer(llama, PROMPT, max_tokens=10)
    end = tokens[4]
    found, request = events(llama, PROMPT, stop_ids=frozenset([end]))
    assert found[-1] == Finish("stop")
    assert request.generated == tokens[: tokens.index(end)]


def test_the_context_is_the_end(engine):
    found, request = events(engine, PROMPT)
    assert found[-1] == Finish("length")
    assert len(request.tokens) == engine.context


def test_a_prompt_that_leaves_no_room_is_refused_with_both_numbers(engine):
    for length in (128, 200):
        with pytest.raises(ContextError, match=f"{length} tokens and the context window 128"):
            engine.generate(checkpoints.tokens(length))
    assert len(answer(engine, checkpoints.tokens(127))) == 1


def test_ids_outside_the_vocabulary_are_refused(llama):
    for bad in ([], [-1], [checkpoints.VOCABULARY], [1.5], ["a"]):
        with pytest.raises(ParameterError):
            llama.generate(bad)
        with pytest.raises(ParameterError):
            llama.logits(bad)
    with pytest.raises(ContextError, match=r"129 tokens.*128"):
        llama.logits(checkpoints.tokens(129))


def test_banned_ids_are_never_generated(folders):
    with open_checkpoint(folders["llama, grouped and tied"]) as checkpoint:
        program = models.build(checkpoint.config, checkpoint.tensors)
        runtime = Runtime(program, checkpoint.tensors, threads=1)
        allowed = {3, 5, 8}
        banned = sorted(set(range(program.vocab_size)) - allowed)
        drawn = answer(Engine(runtime, program.context, banned), PROMPT, **SAMPLED)
    assert set(drawn) <= allowed


def test_a_known_beginning_is_taken_from_the_cache_and_changes_nothing(engine):
    first, fresh = events(engine, PROMPT, logprobs=9, **SAMPLED)
    again, request = events(engine, PROMPT, logprobs=9, **SAMPLED)
    assert fresh.cached_tokens == 0
    assert request.cached_tokens == 32
    assert [e for e in again if isinstance(e, Token)] == [e for e in first if isinstance(e, Token)]
    grown = [*fresh.tokens, *checkpoints.tokens(5, seed=2)]
    _, longer = events(engine, grown, logprobs=9, **SAMPLED)
    assert longer.cached_tokens == 64
    engine.blocks.clear()
    _, recomputed = events(engine, grown, logprobs=9, **SAMPLED)
    assert recomputed.cached_tokens == 0
    assert recomputed.generated == longer.generated


def test_logits_use_nothing_that_the_cache_holds(engine):
    expected = engine.logits(PROMPT)
    answer(engine, PROMPT, max_tokens=5)
    rows = []
    run = engine.runtime.run
    engine.runtime.run = lambda tokens, *rest: rows.append(len(tokens)) or run(tokens, *rest)
    np.testing.assert_array_equal(engine.logits(PROMPT, 20), expected)
    assert rows == [20, 20, 10]


@pytest.mark.parametrize("length", [1, 30, 33, 50])
def test_continuations_have_the_logits_of_whole_texts(engine, length):
    prefix = PROMPT[:length]
    texts = [checkpoints.tokens(n, seed=n) for n in (3, 1, 12, 5, 20, 2)]
    texts.insert(2, [])
    expected = [engine.logits([*prefix, *text])[length - 1 :] for text in texts]
    processed = []
    run = engine.runtime.run
    engine.runtime.run = lambda tokens, *rest: processed.append(len(tokens)) or run(tokens, *rest)
    for found, rows in zip(engine.continued(prefix, texts), expected, strict=True):
        np.testing.assert_array_equal(found, rows)
    assert max(processed) <= 16
    of_text = [engine.runtime.program.rope.set_for(length + len(text)) for text in texts]
    beginnings = {
        (its, tuple(text[:end]))
        for its, text in zip(of_text, texts, strict=True)
        for end in range(1, len(text) + 1)
    }
    sets = len({*of_text})
    assert sum(processed) == sets * length + len(beginnings)  # what is alike once for each set
    processed.clear()
    engine.continued(prefix, texts)  # now the prefix's whole blocks are in the cache
    assert sum(processed) == sets * ((length - 1) % 32 + 1) + len(beginnings)


def test_texts_that_begin_alike_have_the_logits_of_whole_texts(engine):
    shared = PROMPT[:35]
    texts = [
        [*shared, *checkpoints.tokens(5, seed=1)],
        [*shared, *checkpoints.tokens(5, seed=1)],  # the same again
        shared[:20],  # the beginning of others
        [*shared, *checkpoints.tokens(9, seed=1)],
        checkpoints.tokens(18, seed=2),  # like no other
        [*shared, *checkpoints.tokens(5, seed=1), *checkpoints.tokens(30, seed=3)],
    ]
    firsts = [38, 36, 0, 34, 17, 60]
    found = [[] for _ in texts]
    for rows in engine.branching(texts, firsts):
        for index in rows.texts:
            assert rows.first == firsts[index] + sum(map(len, found[index]))
            found[index].append(rows.logits)
    for text, first, rows in zip(texts, firsts, found, strict=True):
        np.testing.assert_array_equal(np.concatenate(rows), engine.logits(text)[first:])


def test_texts_that_begin_alike_can_be_left_half_read(engine):
    texts = [checkpoints.tokens(60, seed=seed) for seed in range(3)]
    reading = engine.branching(texts, [0, 0, 0])
    next(reading)
    reading.close()
    assert engine.blocks.in_use == 0
    with pytest.raises(ParameterError, match="no position 60 in 60 tokens"):
        next(engine.branching(texts, [0, 60, 0]))


def test_continuations_that_cannot_be_are_refused(llama):
    assert llama.continued(PROMPT, []) == []
    with pytest.raises(ContextError, match=r"130 tokens.*128"):
        llama.continued(PROMPT, [[1], checkpoints.tokens(80)])
    for prefix, text in (([], [1]), ([1], [-1]), ([1], [checkpoints.VOCABULARY])):
        with pytest.raises(ParameterError):
            llama.continued(prefix, [text])
    assert llama.blocks.in_use == 0


def test_requests_together_write_what_they_write_alone(engine):
    prompts = [checkpoints.tokens(n, seed=n) for n in (50, 3, 31, 20)]
    alone = [answer(engine, prompt, **SAMPLED) for prompt in prompts]
    engine.blocks.clear()
    requests = [engine.generate(prompt, SamplingParameters(**SAMPLED)) for prompt in prompts]
    widest = 0
    for _ in itertools.zip_longest(*requests):
        widest = max(widest, engine.blocks.in_use)
    assert widest > 4  # they did run together
    assert [request.generated for request in requests] == alone


def test_requests_read_by_several_threads(engine):
    prompts = [checkpoints.tokens(n, seed=n) for n in (50, 3, 31, 20)]
    alone = [answer(engine, prompt, **SAMPLED) for prompt in prompts]
    together = [None] * 4

    def read(i):
        together[i] = answer(engine, prompts[i], **SAMPLED)

    threads = [threading.Thread(target=read, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert together == alone


@pytest.mark.parametrize("taken", [0, 1, 2, 6])
@pytest.mark.parametrize("how", ["close", "forget"])
def test_cancelled_before_in_and_after_the_prompt(engine, taken, how):
    alone = answer(engine, PROMPT, **SAMPLED)
    engine.blocks.clear()
    neighbour = engine.generate(PROMPT, SamplingParameters(**SAMPLED))
    next(neighbour)
    request = engine.generate(checkpoints.tokens(60, seed=9), SamplingParameters(max_tokens=9))
    for _ in range(taken):
        next(request)
    if how == "close":
        request.close()
        assert next(request, None) is None
    del request
    gc.collect()
    assert engine.blocks.in_use == len({n for n in neighbour.sequence.table if n >= 0})
    for _ in neighbour:
        pass
    assert neighbour.generated == alone


@pytest.mark.parametrize("step", range(8))
@pytest.mark.parametrize("where", ["before the run", "after the run", "before sampling"])
def test_a_step_that_fails_is_taken_back(engine, step, where):
    """Whatever stops a step, wherever: the neighbour writes on."""
    alone = answer(engine, PROMPT[:20], **SAMPLED)
    engine.blocks.clear()
    neighbour = engine.generate(PROMPT[:20], SamplingParameters(**SAMPLED))
    next(neighbour)
    request = engine.generate(checkpoints.tokens(40, seed=9), SamplingParameters(max_tokens=20))
    run, sample, count = engine.runtime.run, engine._sample, itertools.count()

    def interrupt(now):
        if now == where and next(count) == step:
            raise KeyboardInterrupt

    def interrupted_run(*arguments):
        interrupt("before the run")
        logits = run(*arguments)
        interrupt("after the run")
        return logits

    def interrupted_sample(*arguments):
        interrupt("before sampling")
        sample(*arguments)

    engine.runtime.run, engine._sample = interrupted_run, interrupted_sample
    with pytest.raises(KeyboardInterrupt):
        for _ in request:
            pass
    # Nothing counts as processed that was not, and there is something left to process.
    assert len(neighbour.sequence) == neighbour.sequence.committed < len(neighbour.tokens)
    for _ in neighbour:
        pass
    assert neighbour.generated == alone


def test_ctrl_c_waits_for_the_end_of_the_step(engine):
    handler = signal.getsignal(signal.SIGINT)
    request = engine.generate(PROMPT, SamplingParameters(max_tokens=9))
    next(request)
    run, finished = engine.runtime.run, []

    def signalled(*arguments):
        signal.raise_signal(signal.SIGINT)
        finished.append(run(*arguments))
        return finished[0]

    engine.runtime.run = signalled
    with pytest.raises(KeyboardInterrupt):
        next(request)
    assert finished
    assert engine.blocks.in_use == 0
    assert next(request, None) is None
    assert signal.getsignal(signal.SIGINT) is handler
    engine.runtime.run = run
    assert len(answer(engine, PROMPT, max_tokens=9)) == 9


def test_a_request_that_leaves_during_a_step_is_let_go_after_it(engine):
    leaving = engine.generate(PROMPT, SamplingParameters(max_tokens=9))
    next(leaving)
    staying = engine.generate(PROMPT[:20], SamplingParameters(max_tokens=9))
    run = engine.runtime.run

    def leave_and_run(*arguments):
        leaving.close()
        assert leaving.sequence is not None  # its blocks are in this step's tables
        engine.runtime.run = run
        return run(*arguments)

    engine.runtime.run = leave_and_run
    next(staying)
    assert leaving.sequence is None
    assert engine.blocks.in_use == len(staying.sequence.table)
    staying.close()


def test_what_is_being_written_is_not_held_up_by_a_long_prompt(llama):
    run, shapes = llama.runtime.run, []

    def noted(tokens, segments, picks, adapters):
        shapes.append([count for count, *_ in segments])
        return run(tokens, segments, picks, adapters)

    llama.runtime.run = noted
    long = llama.generate(checkpoints.tokens(100), SamplingParameters(max_tokens=3))
    short = llama.generate(checkpoints.tokens(3), SamplingParameters(max_tokens=9))
    next(long)
    while not isinstance(next(short), Token):
        pass
    for _ in range(4):
        next(long)
        next(short)
    # The short one is whole in the long one's second step, and writes beside the third and on.
    assert shapes == [[16], [3, 13], [1, 15], [1, 15], [1, 15], [1, 15]]


def test_prompts_share_a_step_and_short_ones_leave_over_what_they_do_not_need(llama):
    run, shapes = llama.runtime.run, []

    def noted(tokens, segments, picks, adapters):
        shapes.append([count for count, *_ in segments])
        return run(tokens, segments, picks, adapters)

    llama.runtime.run = noted
    requests = [
        llama.generate(checkpoints.tokens(length, seed=length), SamplingParameters(max_tokens=1))
        for length in (30, 40, 2)
    ]
    for request in requests:
        request.begin()
    llama.advance()
    assert shapes == [[2, 7, 7]]


def test_parts_of_prompts_are_small_while_a_text_is_being_written(llama, monkeypatch):
    monkeypatch.setattr(engine_module, "CHUNK", 64)
    monkeypatch.setattr(engine_module, "STALL", 0.0)
    run, shapes = llama.runtime.run, []

    def noted(tokens, segments, picks, adapters):
        shapes.append([count for count, *_ in segments])
        return run(tokens, segments, picks, adapters)

    short = llama.generate(checkpoints.tokens(20), SamplingParameters(max_tokens=9))
    while not isinstance(next(short), Token):
        pass
    llama.runtime.run = noted
    long = llama.generate(checkpoints.tokens(100, seed=3), SamplingParameters(max_tokens=3))
    next(long)
    next(short)
    next(long)
    assert shapes[0] in ([64], [1, engine_module.LEAST_CHUNK])
    assert shapes[1] == [1, engine_module.LEAST_CHUNK]


def test_hidden_states_are_what_the_head_reads(llama, folders):
    _, tensors = checkpoints.stored(folders["llama, grouped and tied"])
    head = tensors["model.embed_tokens.weight"].data
    hidden = llama.hidden(PROMPT)
    assert hidden.dtype == np.float32
    np.testing.assert_allclose(hidden @ head.T, llama.logits(PROMPT), atol=1e-4)
    assert np.array_equal(llama.hidden(PROMPT[:7]), hidden[:7])
    with pytest.raises(ParameterError):
        llama.hidden([])
    with pytest.raises(ContextError):
        llama.hidden([5] * (checkpoints.CONTEXT + 1))
    assert llama.blocks.in_use == 0


def test_steps_can_be_made_for_readers_that_only_look(llama):
    expected = answer(llama, PROMPT, max_tokens=9)
    request = llama.generate(PROMPT, SamplingParameters(max_tokens=9))
    request.begin()
    found = []
    while not found or not isinstance(found[-1], Finish):
        while request.ready and not (found and isinstance(found[-1], Finish)):
            found.append(next(request))
        llama.advance()
    assert request.generated == expected
    assert request.ready
    with pytest.raises(StopIteration):
        next(request)


def test_the_cache_is_let_go_with_the_last_token(llama):
    request = llama.generate(PROMPT, SamplingParameters(max_tokens=2))
    tokens = 0
    while tokens < 2:
        tokens += isinstance(next(request), Token)
    assert llama.blocks.in_use == 0
    assert next(request) == Finish("length")


def test_crossing_to_the_long_factors_is_told_once_and_is_the_at_once_forward(folders):
    engine = open_engine(folders["phi3 with longrope"], threads=1)
    prompt = checkpoints.tokens(checkpoints.ORIGINAL - 3, seed=4)
    found, request = events(engine, prompt, max_tokens=20)
    notices = [i for i, event in enumerate(found) if isinstance(event, Notice)]
    assert len(notices) == 1
    assert f"passed {checkpoints.ORIGINAL} tokens" in found[notices[0]].text
    before = [event for event in found[: notices[0]] if isinstance(event, Token)]
    assert len(before) == 4  # up to the 33rd token, which the 34th needs processed
    for length in range(len(prompt), len(request.tokens)):
        row = engine.logits(request.tokens[:length])[-1]
        assert request.tokens[length] == row.argmax()


def test_a_prompt_beyond_the_crossing_is_processed_once(folders):
    engine = open_engine(folders["phi3 with longrope"], threads=1)
    found, _ = events(engine, PROMPT, max_tokens=4)
    assert not any(isinstance(event, Notice) for event in found)
    assert [event.done for event in found if isinstance(event, Progress)] == [16, 32, 48, 50]


def test_a_window_holds_no_more_blocks_than_it_sees(folders):
    engine = open_engine(folders["phi3 with a window"], threads=1)
    most = 0
    for _ in engine.generate(PROMPT):
        most = max(most, engine.blocks.in_use)
    assert most <= 2  # 20 positions lie in two blocks of 32 at most


def test_damaged_weights_are_told_to_their_own_reader(llama):
    run = llama.runtime.run
    llama.runtime.run = lambda *arguments: run(*arguments) * np.float32(np.nan)
    with pytest.raises(ModelFileError, match="weights are damaged"):
        answer(llama, PROMPT, max_tokens=3)
    llama.runtime.run = run
    assert len(answer(llama, PROMPT, max_tokens=3)) == 3


def test_the_same_text_with_any_number_of_threads(folders):
    for folder in folders.values():
        texts = [answer(open_engine(folder, threads=n), PROMPT, **SAMPLED) for n in (1, 2, 3)]
        assert texts[0] == texts[1] == texts[2]


@pytest.mark.parametrize(
    ("option", "value"),
    [("threads", 0), ("threads", 1025), ("threads", 1.5), ("cache_type", "f8"), ("quantize", "q3")],
)
def test_loading_options_are_checked(folders, option, value):
    with pytest.raises(ParameterError, match=option):
        open_engine(folders["llama, grouped and tied"], **{option: value})


def rounded(tensor, kind):
    """The tensor in float32, its numbers those that the type can hold."""
    target = gguf.GGMLQuantizationType[kind]
    values = tensor.data.view(np.float32).reshape(tensor.shape)
    values = gguf.quants.dequantize(gguf.quants.quantize(values, target), target)
    data = values.astype(np.float32).reshape(-1).view(np.uint8)
    return type(tensor)(tensor.name, "F32", tensor.shape, data)


@pytest.mark.parametrize("name", ["phi3 with longrope", "llama, grouped and tied"])
@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_quantising_on_load(folders, name, kind):
    """As the program with rounded weights, but for the rounding of what they are multiplied by."""
    small = open_engine(folders[name], threads=1, quantize=kind)
    with open_checkpoint(folders[name]) as checkpoint:
        program = models.build(checkpoint.config, checkpoint.tensors)
        tensors = dict(checkpoint.tensors)
        head = "lm_head.weight" if "lm_head.weight" in tensors else "model.embed_tokens.weight"
        for key, tensor in tensors.items():
            if key == head:
                tensors[key] = rounded(tensor, "Q8_0")
            elif key.endswith("proj.weight"):
                tensors[key] = rounded(tensor, kind.upper())
        exact = Engine(Runtime(program, tensors, threads=1), program.context)
    expected, found = exact.logits(PROMPT), small.logits(PROMPT)
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.05 * expected.std()
    assert small.runtime.weight_bytes < exact.runtime.weight_bytes / 2


@pytest.mark.parametrize(
    "name",
    ["model.norm.weight", "model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight"],
)
@pytest.mark.parametrize("quantize", [None, "q8_0"])
def test_weights_that_are_no_numbers_are_named(folders, name, quantize):
    with open_checkpoint(folders["llama, grouped and tied"]) as checkpoint:
        program = models.build(checkpoint.config, checkpoint.tensors)
        tensors = dict(checkpoint.tensors)
        data = tensors[name].data.copy()
        data.view(np.float32)[data.size // 8] = np.nan
        tensors[name] = type(tensors[name])(name, "F32", tensors[name].shape, data)
        with pytest.raises(ModelFileError, match=name):
            Runtime(program, tensors, threads=1, quantize=quantize)
