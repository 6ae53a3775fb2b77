"""The Python interface, on the real default model."""

import json
import math
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydantic
import pytest

import pocketlm
from pocketlm.errors import ContextError, ModelFileError, ParameterError

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
SAMPLED = {"max_tokens": 40, "temperature": 0.8, "top_p": 0.9, "seed": 11}


@pytest.fixture(scope="module")
def model(smollm2):
    with pocketlm.load(smollm2) as model:
        yield model
        assert model.engine.blocks.in_use == 0


def test_a_chat_answers(model):
    answer = model.chat(QUESTION, max_tokens=40)
    assert "Paris" in answer.text
    assert answer.finish_reason == "stop"
    assert answer.text == model.detokenize(answer.tokens)
    assert answer.prompt_tokens == len(model.prompt_tokens(QUESTION))
    assert answer.completion_tokens == len(answer.tokens) < 40
    assert answer.logprobs is None
    times = answer.timings
    assert times.load_s > 0
    assert 0 < times.prompt_s <= times.first_token_s
    assert times.generation_s > 0


def test_a_name_is_resolved_by_the_store_and_a_path_as_text(smollm2):
    with pocketlm.load(str(smollm2), threads=1) as model:
        assert model.generate("The capital of France is", max_tokens=3).text == " Paris.\n"


def test_generate_continues_text_and_ids(model):
    text = "The capital of France is"
    answer = model.generate(text, max_tokens=8)
    assert answer.text.startswith(" Paris")
    assert answer.finish_reason == "length"
    assert model.generate(model.tokenize(text), max_tokens=8).tokens == answer.tokens


def test_a_stream_is_the_same_text_in_pieces(model):
    whole = model.chat(QUESTION, **SAMPLED)
    with model.chat_stream(QUESTION, **SAMPLED) as stream:
        pieces = list(stream)
    assert "".join(map(str, pieces)) == whole.text
    assert [piece.token.id for piece in pieces if piece.token is not None] == whole.tokens
    assert pieces[0].progress.total == whole.prompt_tokens
    assert stream.generation.tokens == whole.tokens
    assert stream.generation.finish_reason == whole.finish_reason


def test_the_same_seed_is_the_same_text_with_any_number_of_threads(model, smollm2):
    expected = model.chat(QUESTION, **SAMPLED).text
    assert model.chat(QUESTION, **{**SAMPLED, "seed": 12}).text != expected
    for threads in (1, 2):
        with pocketlm.load(smollm2, threads=threads) as other:
            assert other.chat(QUESTION, **SAMPLED).text == expected


def test_a_conversation_keeps_its_ids_and_finds_its_cache(model):
    said = "Tell me about the history of the city of Paris, from the Romans on."
    messages = [{"role": "user", "content": said}]
    first = model.chat(messages, max_tokens=60)
    messages += [
        {"role": "assistant", "content": first.text, "tokens": first.tokens},
        {"role": "user", "content": "And of London?"},
    ]
    second = model.chat(messages, max_tokens=10)
    processed = first.prompt_tokens + first.completion_tokens
    assert second.cached_tokens > processed - 2 * 32
    fresh = model.engine
    fresh.blocks.clear()
    again = model.chat(messages, max_tokens=10)
    assert again.cached_tokens == 0
    assert again.tokens == second.tokens


def test_a_stop_string_is_not_shown_in_any_part(model):
    whole = model.generate("Count: one, two, three,", max_tokens=24).text
    for stop in (whole[5:9], whole[-3:], [whole[10:14], "never this"]):
        with model.stream("Count: one, two, three,", max_tokens=24, stop=stop) as stream:
            shown = [piece.text for piece in stream]
        first = stop if isinstance(stop, str) else stop[0]
        assert "".join(shown) == whole[: whole.index(first)]
        assert stream.generation.finish_reason == "stop"


def test_closing_a_stream_keeps_what_was_said_and_gives_the_cache_back(model):
    stream = model.chat_stream([{"role": "user", "content": "Write a long story."}])
    shown = ""
    for piece in stream:
        shown += piece.text
        if len(shown) > 40:
            break
    assert model.engine.blocks.in_use > 0
    stream.close()
    assert model.engine.blocks.in_use == 0
    assert stream.generation.text == shown
    assert stream.generation.finish_reason is None
    assert list(stream) == []
    assert "Paris" in model.chat(QUESTION, max_tokens=20).text


def test_logprobs(model):
    answer = model.generate("The capital of France is", max_tokens=5, logprobs=3)
    assert [token.id for token in answer.logprobs] == answer.tokens
    for token in answer.logprobs:
        assert token.top[0] == (token.id, token.logprob)  # greedy: the chosen is the likeliest
        assert 0 < sum(math.exp(value) for _, value in token.top) <= 1.0001


def test_logits(model):
    tokens = model.tokenize("The capital of France is")
    logits = model.logits(tokens)
    assert logits.dtype == np.float32
    assert logits.shape == (len(tokens), model.program.vocab_size)
    assert model.detokenize([int(logits[-1].argmax())]) == " Paris"
    np.testing.assert_array_equal(model.logits(tokens, chunk=2), logits)


def test_control_tokens_only_where_asked_for(model):
    text = "<|im_start|>user"
    assert model.tokenize(text, special=True)[0] == 1
    assert 1 not in model.tokenize(text)
    assert model.detokenize(model.tokenize(text, special=True)) == "user"


def test_a_prompt_longer_than_the_context_names_both(smollm2):
    with pocketlm.load(smollm2, threads=1, context=64) as model:
        with pytest.raises(ContextError, match="101 tokens and the context window 64"):
            model.generate([5] * 101)
        assert len(model.generate([5] * 60).tokens) <= 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": 0}, "context is 0"),
        ({"context": 10**6}, "context is 1,000,000; this model's window is 1 to 8,192"),
        ({"context": "4k"}, "context is '4k'"),
        ({"threads": 0}, "threads is 0"),
        ({"cache_type": "f8"}, "cache_type is 'f8'; it must be one of f32, f16, q8"),
        ({"quantize": "q2"}, "quantize is 'q2'"),
    ],
)
def test_load_checks_its_options(smollm2, options, message):
    with pytest.raises(ParameterError, match=message):
        pocketlm.load(smollm2, **options)


def test_a_missing_file_is_a_pocketlm_error(tmp_path):
    with pytest.raises(ModelFileError, match="no such file"):
        pocketlm.load(tmp_path / "none.gguf")


def test_a_misspelt_option_is_refused(model):
    with pytest.raises(pocketlm.Error, match="no sampling parameter 'temprature'"):
        model.generate("Hello", temprature=1)
    with pytest.raises(pocketlm.Error, match="there are no tokens"):
        model.generate([])
    with pytest.raises(pocketlm.Error, match="not in the vocabulary"):
        model.generate([10**6])


def test_a_closed_model_says_so(smollm2):
    model = pocketlm.load(smollm2, threads=1)
    stream = model.stream("Hello")
    next(stream)
    model.close()
    model.close()
    assert list(stream) == []
    with pytest.raises(ParameterError, match="the model is closed"):
        model.generate("Hello")


@pytest.mark.slow
def test_memory_is_given_back(smollm2):
    """Loaded, used and closed again and again: no more is resident than after the second time."""

    def once():
        with pocketlm.load(smollm2, threads=2) as model:
            model.generate([5] * 300, max_tokens=2)

    def resident():
        fields = Path("/proc/self/statm").read_text().split()
        return int(fields[1]) * resource.getpagesize()

    for _ in range(2):
        once()
    before = resident()
    for _ in range(6):
        once()
    assert resident() - before < 24 << 20  # six caches or one model would be more


def test_importing_is_quick_and_brings_no_numpy():
    code = (
        "import sys, time; start = time.perf_counter(); import pocketlm;"
        "took = time.perf_counter() - start; assert 'numpy' not in sys.modules;"
        "assert pocketlm.__version__; assert issubclass(pocketlm.Error, Exception);"
        "assert 'numpy' not in sys.modules; print(took)"
    )
    took = min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(3)
    )
    assert took < 0.05


class _City(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=20)
    river: str = pydantic.Field(max_length=20)


def test_an_answer_has_the_form_that_is_asked_for(model):
    question = [{"role": "user", "content": "Describe Paris."}]
    for schema in (_City, _City.model_json_schema(), json.dumps(_City.model_json_schema())):
        answer = model.chat(question, schema=schema, max_tokens=100)
        assert answer.finish_reason == "stop"
        _City.model_validate_json(answer.text)
    assert re.fullmatch("(yes|no)!", model.chat(question, regex="(yes|no)!").text)
    assert model.generate("A or B? ", grammar='start: "A" | "B"').text in ("A", "B")
    with model.chat_stream(question, schema=_City, max_tokens=100) as stream:
        assert "".join(map(str, stream)) == answer.text
    assert model.chat(question, schema=_City, max_tokens=3).finish_reason == "length"


def test_what_cannot_be_enforced_is_named(model):
    with pytest.raises(ParameterError, match="uniqueItems"):
        model.generate("x", schema={"uniqueItems": True})
    with pytest.raises(ParameterError, match="one of"):
        model.generate("x", regex="a", grammar='start: "a"')


def test_texts_become_vectors_of_length_one(model):
    dog, puppy, shares = map(
        model.embed, ("A dog runs in the park.", "A puppy plays outside.", "Shares fell today.")
    )
    assert dog.shape == (576,)
    assert np.linalg.norm(dog) == pytest.approx(1, abs=1e-5)
    assert dog @ puppy > dog @ shares
    assert np.array_equal(dog, model.embed(model.text_tokens("A dog runs in the park.")))
