"""Function calls: what a model is told, what it may write, and what is read of it."""

import json

import numpy as np
import pytest

from pocketlm.chat.call_forms import HERMES, LLAMA, PHI, Call, native_form
from pocketlm.chat.template import ChatTemplate
from pocketlm.chat.tools import CallReader, Tool, Toolbox, plain, prepared
from pocketlm.engine.constraint import Compiler, from_regex, from_schema
from pocketlm.errors import ParameterError

WEATHER = Tool(
    "get_weather",
    "The weather",
    {"properties": {"city": {"type": "string", "maxLength": 9}}, "required": ["city"]},
    strict=True,
)
ADD = Tool("add", "A sum", {"properties": {"a": {"type": "integer"}}, "required": ["a"]})
END = 256
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'


@pytest.fixture(scope="module")
def compiler():
    tokens = [bytes([byte]) for byte in range(256)]
    return Compiler(tokens, lambda text: list(text.encode()), 257)


def fits(compiler, toolbox, text, answer=None):
    """Whether the whole text may be written, and may end there."""
    matcher = compiler.matcher(toolbox.constraint(answer), frozenset({END}))
    for byte in text.encode():
        if matcher.finished or not matcher.allowed()[byte]:
            return False
        matcher.advance(byte)
    return matcher.finished or bool(matcher.allowed()[END])


def test_text_calls_or_both_may_be_written(compiler):
    both = Toolbox([WEATHER, ADD])
    for text in ("Hello.", CALL, f"Let me see. {CALL}", f"{CALL}\n{CALL}", "a < b <tool", "ö\n\n"):
        assert fits(compiler, both, text), text
    for text in ("", "<tool_call>", CALL[:-3], f"{CALL} and then", CALL.replace("city", "town")):
        assert not fits(compiler, both, text), text
    assert not fits(compiler, both, CALL.replace("get_weather", "rm"))


def test_a_demand_leaves_no_text(compiler):
    required = Toolbox([WEATHER, ADD], required=True)
    assert fits(compiler, required, CALL)
    assert not fits(compiler, required, f"Well. {CALL}")
    only = Toolbox([WEATHER, ADD], only="add")
    assert not fits(compiler, only, CALL)
    added = '<tool_call>\n{"name": "add", "arguments": {"a": 3}}\n</tool_call>'
    assert fits(compiler, only, added)
    assert not fits(compiler, only, f"{added}\n{added}")
    single = Toolbox([WEATHER], parallel=False)
    assert fits(compiler, single, CALL)
    assert not fits(compiler, single, f"{CALL}\n{CALL}")


def test_an_answer_may_have_a_schema_beside_calls(compiler):
    schema = from_schema({"type": "object", "properties": {"x": {"const": 1}}, "required": ["x"]})
    box = Toolbox([WEATHER])
    assert fits(compiler, box, '{"x": 1}', schema)
    assert fits(compiler, box, CALL, schema)
    assert not fits(compiler, box, "Hello.", schema)
    with pytest.raises(ParameterError, match="regex"):
        box.constraint(from_regex("a"))


def test_a_keyword_that_cannot_be_enforced_is_left_to_the_model_unless_strict(compiler):
    parameters = {"properties": {"a": {"format": "zip", "not": {"const": 1}, "type": "string"}}}
    written = '<tool_call>\n{"name": "f", "arguments": {"a": "x"}}\n</tool_call>'
    assert fits(compiler, Toolbox([Tool("f", parameters=parameters)]), written)
    del parameters["properties"]["a"]["not"]
    strict = Toolbox([Tool("f", parameters=parameters, strict=True)])
    with pytest.raises(ParameterError, match="zip"):
        compiler.matcher(strict.constraint(), frozenset({END}))


def test_names_of_all_sorts_stay_what_they_are(compiler):
    odd = Tool("a.b-C_9", parameters={"properties": {'q"\\': {"const": "</tool_call>"}}})
    text = json.dumps({"name": odd.name, "arguments": {'q"\\': "</tool_call>"}})
    written = f"<tool_call>\n{text}\n</tool_call>"
    assert fits(compiler, Toolbox([odd]), written)
    _, (call,) = CallReader().push(written)
    assert json.loads(call.arguments) == {'q"\\': "</tool_call>"}


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_calls_are_read_however_the_text_arrives(size):
    text = f"See: <tool 1 < 2>\n{CALL}\n{CALL}"
    reader = CallReader()
    shown, calls = "", []
    for start in range(0, len(text), size):
        more, found = reader.push(text[start : start + size])
        shown += more
        calls += found
    assert shown + reader.finish() == "See: <tool 1 < 2>\n"
    assert calls == [Call("get_weather", '{"city": "Paris"}')] * 2


def test_a_call_that_was_cut_off_is_none():
    reader = CallReader()
    text, calls = reader.push("Well. " + CALL[:40])
    assert (text, calls) == ("Well. ", [])
    assert reader.finish() == ""
    reader = CallReader()
    assert reader.push("a <tool")[0] == "a "
    assert reader.finish() == "<tool"


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Toolbox([]), "tools"),
        (lambda: Toolbox([ADD, ADD]), "twice"),
        (lambda: Toolbox([Tool("a b")]), "a b"),
        (lambda: Toolbox([Tool("x" * 65)]), "name"),
        (lambda: Toolbox([ADD], only="sub"), "sub"),
        (lambda: Toolbox([Tool(f"f{i}") for i in range(129)]), "128"),
        (lambda: Toolbox([Tool("f", parameters={"not": {}}, strict=True)]).constraint(), "not"),
    ],
)
def test_what_is_no_set_of_functions_is_refused(make, word):
    with pytest.raises(ParameterError, match=word):
        make()


def test_the_model_is_told_in_the_system_prompt_or_by_its_template():
    box = Toolbox([WEATHER])
    question = {"role": "user", "content": "Hi"}
    told, tools = box.told([question], native=None)
    assert told[0]["role"] == "system"
    assert '"get_weather"' in told[0]["content"]
    assert told[1:] == [question]
    assert tools is None
    system = {"role": "system", "content": "Be brief."}
    told, _ = box.told([system, question], native=None)
    assert told[0]["content"].startswith("Be brief.\n\n")
    told, tools = box.told([system, question], native=HERMES)
    assert told == [system, question]
    assert tools[0]["function"]["name"] == "get_weather"
    assert native_form("{% if tools %}<tool_call>{% endif %}") is HERMES
    assert native_form("{{ messages }}") is None


def test_calls_and_results_become_text_where_a_template_knows_none():
    function = {"name": "get_weather", "arguments": {"city": "Paris"}}
    messages = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": function}]},
        {"role": "tool", "content": "sunny"},
        {"role": "tool", "content": "warm"},
    ]
    found = plain(messages)
    assert [message["role"] for message in found] == ["user", "assistant", "user"]
    assert found[1]["content"] == CALL
    assert found[2]["content"].count("<tool_response>") == 2


def test_a_random_text_by_the_grammar_is_read_whole(compiler):
    box = Toolbox([WEATHER, ADD])
    for seed in range(20):
        rng = np.random.default_rng(seed)
        matcher = compiler.matcher(box.constraint(), frozenset({END}))
        text = b""
        while len(text) < 300 and not matcher.finished:
            ids = np.flatnonzero(matcher.allowed())
            forced = matcher.forced()
            token = forced[0] if forced else int(rng.choice(ids))
            if ord("<") in ids and rng.random() < 0.1:
                token = ord("<")
            if token == END:
                break
            text += bytes([token])
            matcher.advance(token)
        reader = CallReader()
        calls = reader.push(text.decode("utf-8", "ignore"))[1]
        for call in calls:
            assert call.name in ("get_weather", "add")
            json.loads(call.arguments)


FORMS = {
    HERMES: ["<tool_call>\n", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>", "arguments"],
    LLAMA: ["", None, "", "parameters"],
    PHI: ["functools[", ", ", "]", "arguments"],
}
ALL = pytest.mark.parametrize("form", FORMS, ids=["hermes", "llama", "phi"])


def written(form, *calls):
    before, between, after, key = FORMS[form]
    each = [json.dumps({"name": name, key: arguments}) for name, arguments in calls]
    return before + (between or "?").join(each) + after


PARIS, THREE = ("get_weather", {"city": "Paris"}), ("add", {"a": 3})


def allowed(compiler, form, text, **options):
    matcher = compiler.matcher(
        Toolbox([WEATHER, ADD], **options).constraint(None, form), frozenset({END})
    )
    for byte in text.encode():
        if matcher.finished or not matcher.allowed()[byte]:
            return False
        matcher.advance(byte)
    return matcher.finished or bool(matcher.allowed()[END])


@ALL
def test_each_form_has_text_or_sound_calls(compiler, form):
    call = written(form, PARIS)
    for text in ("Hello.", call, "a < b [1] {", "ö\n\n", "{}", "func", f"{call[:4]} and so on"):
        assert allowed(compiler, form, text), text
    wrong = [call.replace("city", "town"), call.replace("get_weather", "rm"), f"{call} and then"]
    for text in ("", form.mark, call[:-2], *wrong):
        assert not allowed(compiler, form, text), text
    both = written(form, PARIS, THREE)
    assert allowed(compiler, form, both) == (form is not LLAMA)
    assert not allowed(compiler, form, both, parallel=False)
    assert allowed(compiler, form, f"Well. {call}")  # Llama's is text then
    assert allowed(compiler, form, call, required=True)
    assert not allowed(compiler, form, "Hello.", required=True)
    assert not allowed(compiler, form, call, only="add")


@ALL
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_each_form_is_read_however_it_arrives(form, size):
    calls = [PARIS, THREE] if form is not LLAMA else [PARIS]
    shown = "Well, see [1]: {" if form is not LLAMA else ""
    text = shown + written(form, *calls)
    reader = CallReader(form)
    said, found = "", []
    for start in range(0, len(text), size):
        more, new = reader.push(text[start : start + size])
        said += more
        found += new
    assert said + reader.finish() == shown
    assert found == [Call(name, json.dumps(arguments)) for name, arguments in calls]
    assert form.written(found) == written(form, *calls)
    cut = CallReader(form)
    whole = written(form, PARIS)
    assert cut.push(whole[: whole.rindex("}")]) == ("", [])
    assert cut.finish() == ""


@ALL
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_text_is_no_call_in_any_form(form, size):
    text = 'Say {"name": "x"} or functools or <tool_cal or {"na'
    reader = CallReader(form)
    said = "".join(reader.push(text[at : at + size])[0] for at in range(0, len(text), size))
    assert said + reader.finish() == text


#: In the conventions of the models' own templates, without what does not concern calls.
TEMPLATES = {
    LLAMA: (
        "{% for m in messages %}<|start_header_id|>{{ m.role if m.role != 'tool' else 'ipython' }}"
        "<|end_header_id|>\n\n{% if tools and loop.first %}Respond in the format "
        '{"name": function name, "parameters": dictionary of arguments}.\n'
        "{% for t in tools %}{{ t | tojson }}\n{% endfor %}{% endif %}"
        "{% if m.tool_calls %}{% set f = m.tool_calls[0].function %}"
        '{"name": "{{ f.name }}", "parameters": {{ f.arguments | tojson }}}'
        "{% else %}{{ m.content }}{% endif %}<|eot_id|>{% endfor %}"
    ),
    PHI: (
        "{% for m in messages %}{% if m.role == 'system' and m.tools %}"
        "<|system|>{{ m.content }}<|tool|>{{ m.tools }}<|/tool|><|end|>{% else %}"
        "<|{{ m.role }}|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    ),
}
SAID = [
    {"role": "user", "content": "And in Paris?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": PARIS[0], "arguments": PARIS[1]}}],
    },
    {"role": "tool", "content": "sunny"},
]


@pytest.mark.parametrize("form", TEMPLATES, ids=["llama", "phi"])
def test_templates_are_told_in_their_own_form(form):
    source = TEMPLATES[form]
    assert native_form(source) is form
    template = ChatTemplate(source)
    told, tools = prepared(SAID, Toolbox([WEATHER]), source)
    text = template.render(told, tools=tools)
    template.close()
    assert '"get_weather"' in text.partition("And in Paris?")[0]
    call = json.dumps({"name": "get_weather", FORMS[form][3]: PARIS[1]})
    assert call in text
    assert ("functools[" in text) == (form is PHI)
    role = {LLAMA: "<|start_header_id|>ipython", PHI: "<|tool|>"}[form]
    assert role in text.partition(call)[2].partition("sunny")[0]
    assert "<tool_call>" not in text
    assert "<tool_response>" not in text
