"""What a constraint lets pass is what it says, to the last character; and how an engine keeps it.

Texts are written at random among the tokens that are allowed, by no model: what a model would never
try comes up as well. An independent validator judges them.
"""

import itertools
import json
import random
import re
import threading
import time

import jsonschema
import numpy as np
import pytest
import random_schemas as schemas
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import checkpoints
from pocketlm import models
from pocketlm.engine import constraint as constraint_module
from pocketlm.engine import schema as schema_module
from pocketlm.engine import speculation
from pocketlm.engine.constraint import (
    Compiler,
    from_grammar,
    from_options,
    from_regex,
    from_schema,
)
from pocketlm.engine.engine import Engine
from pocketlm.engine.request import Finish
from pocketlm.engine.runtime import Runtime
from pocketlm.engine.sampling import SamplingParameters
from pocketlm.errors import Error, ParameterError
from pocketlm.formats.gguf import read_gguf
from pocketlm.formats.open import open_checkpoint
from pocketlm.formats.tokenizer import from_gguf

#: Each byte, and some tokens of several.
TOKENS = [bytes([byte]) for byte in range(256)]
TOKENS += [
    *(b'{"', b'": "', b'", "', b'"}', b": ", b", ", b"true", b"null", b"12", b"ab", b" the"),
    *("größe".encode(), b"\xc3\xb6\xc3", b"", b"}}", b"]}", b"<tool_call>\n"),
]
END = len(TOKENS)
SIZE = END + 8  # some padding
_IDS = {token: id for id, token in enumerate(TOKENS) if token}


def encode(text: str) -> list[int]:
    """The longest tokens, from left to right."""
    data, ids = text.encode(), []
    while data:
        length = next(n for n in range(min(len(data), 12), 0, -1) if data[:n] in _IDS)
        ids.append(_IDS[data[:length]])
        data = data[length:]
    return ids


@pytest.fixture(scope="module")
def compiler():
    return Compiler([*TOKENS, b""], encode, SIZE)


def written(compiler, constraint, seed, most=400):
    """A random text that the constraint allows, or None when it got too long."""
    rng = np.random.default_rng(seed)
    matcher = compiler.matcher(constraint, frozenset({END}))
    lengths = np.array([len(token) for token in TOKENS] + [0] * (SIZE - END))
    text = b""
    for _ in range(most):
        allowed = matcher.allowed()
        assert allowed.any(), text
        assert not allowed[END + 1 :].any()
        some = rng.integers(SIZE, size=4).tolist()
        assert not [id for id in some if allowed[id] and not matcher.allows(id)]
        assert matcher.allows(END) == allowed[END]
        if allowed[END] and (rng.random() < 0.3 or allowed.sum() == 1):
            return text
        allowed[END] = False
        ids = np.flatnonzero(allowed)
        assert lengths[ids].all()  # nothing without a spelling
        closing = [id for id in encode('"]}') if matcher.allows(id)]
        if closing and rng.random() < 0.3:
            token = closing[int(rng.integers(len(closing)))]
        else:
            token = int(rng.choice(ids))
        text += TOKENS[token]
        matcher.advance(token)
        if matcher.finished:
            return text
    return None


def test_random_schemas_are_met(compiler):
    finished = 0
    for seed in range(150):
        given = schemas.schema(random.Random(seed))
        text = written(compiler, from_schema(given), seed)
        if text is not None:
            finished += 1
            jsonschema.Draft202012Validator(given).validate(json.loads(text))
    assert finished > 100


@pytest.mark.slow
def test_many_random_schemas_are_met_or_refused_by_name(compiler):
    finished = refused = 0
    for seed in range(10_000):
        rng = random.Random(seed)
        given = schemas.schema(rng, refused=rng.random() < 0.2)
        keyword = given.get("title")
        if keyword is not None:
            with pytest.raises(ParameterError) as caught:
                from_schema(given)
            assert repr(keyword) in str(caught.value)
            refused += 1
            continue
        text = written(compiler, from_schema(given), seed, most=250)
        if text is not None:
            finished += 1
            jsonschema.Draft202012Validator(given).validate(json.loads(text))
    assert refused > 1500
    assert finished > 5000


def test_there_is_no_free_whitespace_and_nothing_after_the_last_brace(compiler):
    given = from_schema({"type": "object", "additionalProperties": {"type": "integer"}})
    matcher = compiler.matcher(given, frozenset({END}))
    for token in encode('{"a": 1'):
        allowed = matcher.allowed()
        assert allowed[token]
        assert not allowed[encode("\n")[0]]
        matcher.advance(token)
    assert not matcher.finished
    matcher.advance(ord("}"))
    assert matcher.finished


@pytest.mark.parametrize(
    ("pattern", "escaped"),
    [
        ('[^"]+', b"\\bfnrtu"),
        ("[^\\\\]+", b'"bfnrtu'),
        ('x[^]"]', b"\\bfnrtu"),
        ('[^a[^"]]', b'"'),
        ("[]^]", b""),
        (r"\[x", b""),
        ('[^\\x00-\\x1f"]', b"\\u"),
    ],
)
def test_a_string_without_a_quote_does_not_get_one_escaped(compiler, pattern, escaped):
    matcher = compiler.matcher(
        from_schema({"pattern": f"^{pattern}$", "type": "string"}), frozenset({END})
    )
    for token in encode('"x' if pattern[0] == "x" else '"'):
        matcher.advance(token)
    if matcher.allows(ord("\\")):
        matcher.advance(ord("\\"))
        assert {id for id in range(256) if matcher.allows(id)} == set(escaped)
    else:
        assert not escaped


def test_any_of_the_stop_tokens_may_end_a_text_that_may_go_on(compiler):
    matcher = compiler.matcher(from_regex("a+"), frozenset({END, END + 2}))
    assert set(np.flatnonzero(matcher.allowed())) == {ord("a")}
    matcher.advance(ord("a"))
    assert set(np.flatnonzero(matcher.allowed())) == {ord("a"), END, END + 2}
    assert [token for token in range(SIZE) if matcher.allows(token)] == [ord("a"), END, END + 2]
    assert not matcher.finished


@pytest.mark.parametrize(
    "pattern", ["(yes|no), because [a-z ]{3,9}\\.", "^[0-9]{3}-[0-9]{4}$", "ö+", "(?i)abc"]
)
def test_a_regex_is_matched_whole(compiler, pattern):
    for seed in range(20):
        text = written(compiler, from_regex(pattern), seed)
        assert text is not None
        assert re.fullmatch(pattern, text.decode())


LARK = """
start: greeting " " NAME "!"
greeting: "hello" | "good " ("morning" | "evening")
NAME: /[A-Z][a-z]{1,5}/
"""
GBNF = """
root ::= greeting " " name "!"
greeting ::= "hello" | "good " ("morning" | "evening")
name ::= [A-Z] [a-z] [a-z]?
"""


@pytest.mark.parametrize("grammar", [LARK, GBNF])
def test_a_grammar_is_followed(compiler, grammar):
    for seed in range(20):
        text = written(compiler, from_grammar(grammar), seed)
        assert text is not None
        pattern = r"(hello|good (morning|evening)) [A-Z][a-z]{1,5}!"
        assert re.fullmatch(pattern, text.decode())


@pytest.mark.parametrize(
    ("make", "source", "words"),
    [
        (from_regex, "(?=a)b", "look-around"),
        (from_regex, "(a)\\1", "backreferences"),
        (from_regex, "[", "unclosed"),
        (from_regex, "\\bfoo", "regex"),
        (from_regex, "a{1,999999999999}", "regex"),
        (from_schema, {"format": "zip", "type": "string"}, "zip"),
        (from_schema, {"$ref": "http://example.com"}, "$ref"),
        (from_schema, {"$ref": "#/$defs/none"}, "none"),
        (from_schema, {"$ref": "#"}, "no text"),
        (from_schema, {"type": "string", "minLength": 3, "maxLength": 2}, "minLength"),
        (from_schema, {"enum": []}, "schema"),
        (from_schema, {"oneOf": [{"type": "string"}, {"minLength": 1}]}, "oneOf"),
        (from_schema, {"type": "string", "pattern": "(?!a)b"}, "look-around"),
        (from_grammar, "start: other", "other"),
        (from_grammar, "start: (", "grammar"),
        (from_grammar, "root ::= (", "grammar"),
        (from_grammar, 'start: a\na: %json {"not": {}}', "%json"),
        (from_grammar, "start: start", "no text"),
    ],
)
def test_what_is_unsound_is_an_error_of_one_line(compiler, make, source, words):
    with pytest.raises(ParameterError) as caught:
        compiler.matcher(make(source), frozenset({END}))
    assert words.lower() in str(caught.value).lower()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_one_constraint_at_a_time():
    with pytest.raises(ParameterError, match="one of"):
        from_options({"type": "string"}, "a+")
    assert from_options() is None
    for option in ({"regex": ""}, {"grammar": " "}, {"regex": "\ud800"}, {"grammar": "\ud800"}):
        with pytest.raises(ParameterError):
            from_options(**option)


def nested(kind: str, depth: int) -> tuple[object, str]:
    match kind:
        case "groups":
            return from_regex, "(" * depth + "a" + ")" * depth
        case "classes":
            return from_regex, "[a" * depth + "]" * depth
        case "repeats":
            return from_regex, "(" * depth + "a" + "{1,9})" * depth
        case "parentheses":
            return from_grammar, "start: " + "(" * depth + '"a"' + ")" * depth
        case "gbnf":
            return from_grammar, "root ::= " + "(" * depth + '"a"' + ")" * depth
        case "rules":
            rules = "\n".join(f"a{i}: a{i + 1}" for i in range(depth))
            return from_grammar, f'start: a0\n{rules}\na{depth}: "x"'
        case "terminals":
            rules = "\n".join(f"A{i}: A{i + 1}" for i in range(depth))
            return from_grammar, f'start: A0\n{rules}\nA{depth}: "x"'
        case "gbnf rules":
            rules = "\n".join(f"a{i} ::= a{i + 1}" for i in range(depth))
            return from_grammar, f'root ::= a0\n{rules}\na{depth} ::= "x"'
    raise AssertionError(kind)


@pytest.mark.parametrize("depth", [10**2, 10**3, 10**4, 10**5, 10**6])
@pytest.mark.parametrize(
    "kind",
    ["groups", "classes", "repeats", "parentheses", "gbnf", "rules", "terminals", "gbnf rules"],
)
def test_bombs_are_refused_at_once(compiler, kind, depth):
    make, source = nested(kind, depth)
    began = time.process_time()
    try:
        compiler.matcher(make(source), frozenset({END}))
    except Error:
        pass
    else:
        assert depth == 100  # which is no bomb
    assert time.process_time() - began < 0.1


def test_the_longest_chain_of_references_fits_on_a_threads_stack(compiler):
    count = 480
    names = [f"a{i}" for i in range(count)]
    definitions = {a: {"$ref": f"#/$defs/{b}"} for a, b in itertools.pairwise(names)}
    chain = {"$ref": "#/$defs/a0", "$defs": {**definitions, names[-1]: {"const": 1}}}
    objects = {
        a: {"properties": {"x": {"$ref": f"#/$defs/{b}"}}, "required": ["x"]}
        for a, b in itertools.pairwise(names)
    }
    tower = {"$ref": "#/$defs/a0", "$defs": {**objects, names[-1]: {"const": 1}}}
    rules = nested("rules", constraint_module.MOST_RULES - 2)
    failed = []

    def compile_all():
        try:
            for constraint in (from_schema(chain), from_schema(tower), rules[0](rules[1])):
                compiler.matcher(constraint, frozenset({END})).allowed()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=compile_all)
    thread.start()
    thread.join()
    assert not failed


def test_what_was_compiled_is_kept_apart_from_how_far_a_text_is(compiler):
    given = from_regex("xy")
    first = compiler.matcher(given, frozenset({END}))
    first.advance(ord("x"))
    second = compiler.matcher(given, frozenset({END}))
    assert second.allowed()[ord("x")]
    assert first.allowed()[ord("y")]


_ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["string", "object", "integer", "array", "#", "#/$defs/a", "^a+$", "date"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [*schema_module._ENFORCED, *schema_module._ANNOTATIONS, "a", "not", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


def compiled(compiler, make, source):
    """A matcher, or None where that is refused."""
    try:
        return compiler.matcher(make(source), frozenset({END}))
    except ParameterError:
        return None


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(_ANY_JSON)
def test_any_json_is_a_schema_or_an_error(compiler, given):
    matcher = compiled(compiler, from_schema, given)
    assert matcher is None or matcher.allowed().any()


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([from_regex, from_grammar]), st.text(max_size=40))
def test_any_text_is_a_source_or_an_error(compiler, make, text):
    matcher = compiled(compiler, make, text)
    assert matcher is None or matcher.allowed().any()


# The vocabularies of real models


@pytest.fixture(scope="module", params=["phi-3", "smollm2"])
def tokenizer(request, test_data, smollm2):
    """SentencePiece's, whose words begin with a space of their own, and byte-level BPE."""
    phi_3 = test_data / "tokenizer" / "ggml-vocab-phi-3.gguf"
    path = {"phi-3": phi_3, "smollm2": smollm2}[request.param]
    return from_gguf(read_gguf(path.read_bytes()).metadata)


def test_real_tokens_spell_what_a_schema_says(tokenizer):
    size = tokenizer.vocab_size
    data = [tokenizer.token_bytes(id) for id in range(size)]
    plain = tokenizer.encode("a")[-1]
    compiler = Compiler(data, lambda text: tokenizer.encode_run(text, after=plain), size + 64)
    end = min(tokenizer.eot_ids)
    silent = [id for id in range(size) if not data[id] and id not in tokenizer.eot_ids]
    lengths = np.array([len(each) for each in data])
    finished = 0
    for seed in range(40):
        given = schemas.schema(random.Random(seed))
        matcher = compiler.matcher(from_schema(given), tokenizer.eot_ids)
        detokenizer = tokenizer.stream(after=end, exact=True)
        rng = np.random.default_rng(seed)
        text = ""
        for _ in range(300):
            allowed = matcher.allowed()
            assert not allowed[silent].any()
            assert not allowed[size:].any()
            if allowed[end] and (rng.random() < 0.3 or allowed.sum() == len(tokenizer.eot_ids)):
                break
            allowed[sorted(tokenizer.eot_ids)] = False
            ids = np.flatnonzero(allowed)
            weights = 1 / (1.0 + lengths[ids]) ** 2  # else strings would never end
            quote = [id for id in tokenizer.encode_run('"', after=plain) if allowed[id]]
            if quote and rng.random() < 0.3:
                token = quote[0]
            else:
                token = int(rng.choice(ids, p=weights / weights.sum()))
            text += detokenizer.push(token)
            matcher.advance(token)
            if matcher.finished:
                break
        else:
            continue
        finished += 1
        text += detokenizer.flush()
        jsonschema.Draft202012Validator(given).validate(json.loads(text))
    assert finished > 25


# In an engine


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    checkpoints.save("llama, grouped and tied", folder)
    return folder


@pytest.fixture(params=[True, False], ids=["drafting", "plain"])
def engine(folder, request, monkeypatch):
    # Whatever can be drafted is, so that drafts do not depend on the clock.
    monkeypatch.setattr(speculation, "COSTS", (1.0,) * len(speculation.COSTS))
    monkeypatch.setattr(speculation.Speculation, "measured", lambda *_: None)
    with open_checkpoint(folder) as checkpoint:
        program = models.build(checkpoint.config, checkpoint.tensors)
        runtime = Runtime(program, checkpoint.tensors, threads=1)
        yield Engine(runtime, program.context, speculate=request.param)


#: The tiny model's ids stand for ASCII.
ASCII = [bytes([id]) if id < 128 else b"" for id in range(checkpoints.VOCABULARY)]
STOP = 2
SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["cat", "dog"]},
        "legs": {"type": "integer", "minimum": 0, "maximum": 99},
        "names": {"type": "array", "items": {"type": "string", "maxLength": 4}, "maxItems": 3},
    },
    "required": ["kind", "legs", "names"],
}


@pytest.fixture(scope="module")
def ascii_compiler():
    return Compiler(ASCII, lambda text: list(text.encode()), checkpoints.VOCABULARY)


def answer(engine, compiler, constraint, seed=0, **options):
    matcher = compiler.matcher(constraint, frozenset({STOP}))
    prompt = checkpoints.tokens(9, seed=seed)
    parameters = SamplingParameters(temperature=1.0, seed=seed, **options)
    request = engine.generate(prompt, parameters, frozenset({STOP}), matcher)
    list(request)
    return "".join(map(chr, request.generated)), request.finish_reason


def test_an_engine_writes_what_a_schema_says_and_ends(engine, ascii_compiler):
    for seed in range(12):
        text, reason = answer(engine, ascii_compiler, from_schema(SCHEMA), seed)
        assert reason == "stop"
        jsonschema.validate(json.loads(text), SCHEMA)


def test_a_cut_is_told_as_one(engine, ascii_compiler):
    text, reason = answer(engine, ascii_compiler, from_schema(SCHEMA), max_tokens=12)
    assert len(text) == 12
    assert reason == "length"


def test_drafts_change_no_text(folder, ascii_compiler, monkeypatch):
    monkeypatch.setattr(speculation, "COSTS", (1.0,) * len(speculation.COSTS))
    texts = []
    for speculate in (True, False):
        with open_checkpoint(folder) as checkpoint:
            program = models.build(checkpoint.config, checkpoint.tensors)
            runtime = Runtime(program, checkpoint.tensors, threads=1)
        made = Engine(runtime, program.context, speculate=speculate)
        steps = 0
        step = made.step

        def counted(step=step):
            nonlocal steps
            steps += 1
            step()

        made.step = counted
        found = [answer(made, ascii_compiler, from_schema(SCHEMA), seed) for seed in range(8)]
        texts.append((found, steps))
    (drafted, few), (plain, many) = texts
    assert drafted == plain
    assert few < 0.7 * many  # what must come is written several tokens a step


def test_a_text_does_not_depend_on_its_neighbours(engine, ascii_compiler):
    alone = [answer(engine, ascii_compiler, from_schema(SCHEMA), seed) for seed in range(5)]
    together = [None] * 5

    def write(seed):
        together[seed] = answer(engine, ascii_compiler, from_schema(SCHEMA), seed)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_bias_and_penalties_cannot_break_a_constraint(engine, ascii_compiler):
    options = {"frequency_penalty": 2.0, "presence_penalty": 2.0, "repetition_penalty": 50.0}
    bias = {ord("x"): 100.0, ord("{"): -100.0, STOP: 100.0}
    text, reason = answer(
        engine, ascii_compiler, from_schema(SCHEMA), 3, logit_bias=bias, logprobs=2, **options
    )
    assert reason == "stop"
    jsonschema.validate(json.loads(text), SCHEMA)


def test_a_text_that_no_token_can_go_on_fails_alone(engine, ascii_compiler):
    matcher = ascii_compiler.matcher(from_regex("aö"), frozenset({STOP}))
    stuck = engine.generate([5, 6], SamplingParameters(), frozenset({STOP}), matcher)
    other = engine.generate([7, 8], SamplingParameters(max_tokens=4))
    with pytest.raises(Error, match="cannot be followed"):
        list(stuck)
    assert list(other)[-1] == Finish("length")
    assert engine.blocks.in_use == 0
