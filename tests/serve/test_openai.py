"""The dialect of OpenAI's API, spoken by its own client."""

import json
import math

import jsonschema
import numpy as np
import openai
import pydantic
import pytest
from servers import MODEL

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
GREEDY = {"model": MODEL, "temperature": 0}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
            "required": ["city"],
        },
    },
}


class City(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=20)
    population: int = pydantic.Field(ge=0, le=10**8)


@pytest.fixture
def client(server):
    return server.openai


@pytest.fixture
def chat(client):
    return client.chat.completions.create


def test_models_are_listed(client):
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("none")


def test_a_chat_is_answered(chat):
    found = chat(messages=QUESTION, max_completion_tokens=40, **GREEDY)
    (choice,) = found.choices
    assert "Paris" in choice.message.content
    assert choice.message.role == "assistant"
    assert choice.finish_reason == "stop"
    assert found.model == MODEL
    usage = found.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert chat(messages=QUESTION, max_tokens=3, **GREEDY).choices[0].finish_reason == "length"


def test_a_stream_is_the_same_text_in_pieces(chat):
    whole = chat(messages=QUESTION, max_tokens=40, **GREEDY)
    options = {"include_usage": True}
    chunks = list(
        chat(messages=QUESTION, max_tokens=40, stream=True, stream_options=options, **GREEDY)
    )
    *pieces, last = chunks
    text = "".join(chunk.choices[0].delta.content or "" for chunk in pieces)
    assert text == whole.choices[0].message.content
    assert pieces[0].choices[0].delta.role == "assistant"
    assert pieces[-1].choices[0].finish_reason == "stop"
    assert last.choices == []
    assert last.usage.completion_tokens == whole.usage.completion_tokens
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in pieces)


def test_the_cache_of_an_earlier_request_is_used_and_told(chat):
    messages = [{"role": "user", "content": "Tell me about the sea. " * 20}]
    chat(messages=messages, max_tokens=1, **GREEDY)
    found = chat(messages=messages, max_tokens=1, **GREEDY).usage
    assert found.prompt_tokens_details.cached_tokens >= found.prompt_tokens - 33


def test_logprobs_have_bytes(chat):
    found = chat(messages=QUESTION, max_tokens=8, logprobs=True, top_logprobs=3, **GREEDY)
    content = found.choices[0].logprobs.content
    text = b"".join(bytes(entry.bytes) for entry in content).decode()
    assert text == found.choices[0].message.content
    for entry in content:
        assert len(entry.top_logprobs) == 3
        assert entry.logprob == entry.top_logprobs[0].logprob <= 0
        assert sum(math.exp(top.logprob) for top in entry.top_logprobs) <= 1.001
    streamed = chat(
        messages=QUESTION, max_tokens=8, logprobs=True, top_logprobs=3, stream=True, **GREEDY
    )
    entries = [
        entry for chunk in streamed if (got := chunk.choices[0].logprobs) for entry in got.content
    ]
    assert [entry.token for entry in entries] == [entry.token for entry in content]


def test_stop_strings_end_the_text_before_them(chat):
    whole = chat(messages=QUESTION, max_tokens=40, **GREEDY).choices[0].message.content
    cut = chat(messages=QUESTION, max_tokens=40, stop=["Paris", "x\n"], **GREEDY).choices[0]
    assert cut.message.content == whole[: whole.index("Paris")]
    assert cut.finish_reason == "stop"


def test_a_seed_repeats_a_text_and_choices_differ(chat):
    options = {"messages": QUESTION, "model": MODEL, "temperature": 1.2, "max_tokens": 16}
    first = chat(seed=7, n=3, **options)
    again = chat(seed=7, n=3, **options)
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert len(set(texts)) == 3
    assert texts[0] == chat(seed=7, **options).choices[0].message.content
    assert [choice.index for choice in first.choices] == [0, 1, 2]
    assert 3 < first.usage.completion_tokens <= 48
    pieces = {0: "", 1: "", 2: ""}
    for chunk in chat(seed=7, n=3, stream=True, **options):
        pieces[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert list(pieces.values()) == texts


def test_bias_and_penalties_count(chat):
    plain = chat(messages=QUESTION, max_tokens=1, logprobs=True, **GREEDY).choices[0]
    banned = {str(id): -100 for id in range(2000)}
    other = chat(messages=QUESTION, max_tokens=1, logit_bias=banned, **GREEDY).choices[0]
    assert other.message.content != plain.message.content
    text = chat(messages=QUESTION, max_tokens=30, frequency_penalty=2, presence_penalty=2, **GREEDY)
    assert text.choices[0].message.content


# Structured output


def test_a_schema_is_met_and_parsed(client):
    found = client.chat.completions.parse(
        messages=[{"role": "user", "content": "Describe Paris."}],
        response_format=City,
        max_tokens=100,
        seed=1,
        model=MODEL,
    )
    assert isinstance(found.choices[0].message.parsed, City)
    assert found.choices[0].finish_reason == "stop"
    assert found.choices[0].message.content.endswith("}")


def test_json_object_regex_and_grammar(chat):
    said = {"messages": QUESTION, "max_tokens": 200, "seed": 3, "model": MODEL}
    found = chat(response_format={"type": "json_object"}, **said).choices[0]
    if found.finish_reason == "stop":
        assert isinstance(json.loads(found.message.content), dict)
    assert found.message.content.startswith("{")
    assert "\n" not in found.message.content
    text = chat(extra_body={"regex": "(yes|no)!"}, **said).choices[0].message.content
    assert text in ("yes!", "no!")
    grammar = 'root ::= "a" | "b"'
    text = chat(extra_body={"grammar": grammar}, **said).choices[0].message.content
    assert text in ("a", "b")


def test_a_cut_inside_json_is_told(chat):
    schema = {"type": "object", "properties": {"text": {"type": "string", "minLength": 500}}}
    schema["required"] = ["text"]
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    found = chat(messages=QUESTION, response_format=format, max_tokens=20, **GREEDY).choices[0]
    assert found.finish_reason == "length"


@pytest.mark.parametrize(
    ("more", "param", "word"),
    [
        ({"regex": "(?=a)"}, "regex", "look-around"),
        ({"grammar": "start: ("}, "grammar", "grammar"),
        ({"regex": "a", "grammar": 'start: "a"'}, None, "one of"),
        ({"response_format": {"type": "json_schema"}}, "response_format", "schema"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"uniqueItems": True}},
                }
            },
            "response_format",
            "uniqueItems",
        ),
    ],
)
def test_what_cannot_be_enforced_is_a_400_by_name(chat, more, param, word):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(messages=QUESTION, model=MODEL, extra_body=more)
    assert word in str(caught.value)
    if param:
        assert caught.value.param == param


# Tools


def test_a_call_is_sound_and_its_result_goes_back(chat):
    found = chat(
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[WEATHER],
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=100,
        **GREEDY,
    )
    (choice,) = found.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls
    assert call.function.name == "get_weather"
    jsonschema.validate(json.loads(call.function.arguments), WEATHER["function"]["parameters"])
    answer = chat(
        messages=[
            {"role": "user", "content": "What is the weather in Paris?"},
            choice.message,
            {"role": "tool", "tool_call_id": call.id, "content": "sunny, 20 degrees"},
        ],
        tools=[WEATHER],
        tool_choice="none",
        max_tokens=40,
        **GREEDY,
    )
    assert answer.choices[0].message.content
    assert answer.choices[0].message.tool_calls is None


def test_calls_are_streamed_and_the_named_one_is_made(chat):
    other = {"type": "function", "function": {"name": "other", "parameters": {}}}
    chunks = chat(
        messages=QUESTION,
        tools=[other, WEATHER],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        max_tokens=100,
        stream=True,
        **GREEDY,
    )
    choices = [chunk.choices[0] for chunk in chunks]
    calls = [call for choice in choices for call in choice.delta.tool_calls or ()]
    assert [call.function.name for call in calls] == ["get_weather"]
    json.loads(calls[0].function.arguments)
    assert choices[-1].finish_reason == "tool_calls"
    assert not any(choice.delta.content for choice in choices)


def test_several_calls_are_told_apart(chat):
    found = chat(
        messages=[{"role": "user", "content": "The weather in Paris and in London?"}],
        tools=[WEATHER],
        tool_choice="required",
        max_tokens=200,
        **GREEDY,
    ).choices[0]
    calls = found.message.tool_calls
    assert len(calls) > 1
    assert len({call.id for call in calls}) == len(calls)


def test_no_call_need_be_made(chat):
    found = chat(messages=QUESTION, tools=[WEATHER], max_tokens=60, **GREEDY).choices[0]
    assert found.finish_reason in ("stop", "tool_calls")
    assert bool(found.message.content) != bool(found.message.tool_calls)


def test_a_tools_schema_is_strict_only_where_it_says_so(chat):
    tool = {
        "type": "function",
        "function": {
            "name": "f",
            "parameters": {"type": "object", "properties": {"a": {"not": {"type": "null"}}}},
        },
    }
    assert chat(messages=QUESTION, tools=[tool], max_tokens=5, **GREEDY).choices
    tool["function"]["strict"] = True
    with pytest.raises(openai.BadRequestError, match="not"):
        chat(messages=QUESTION, tools=[tool], max_tokens=5, **GREEDY)


# Errors


def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(chat):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(messages=[{"role": "user", "content": "word " * 9000}], **GREEDY)
    assert caught.value.code == "context_length_exceeded"
    assert "8,192" in str(caught.value)
    assert "9,0" in str(caught.value)


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"temperature": -1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 2**70}, None),
        ({"seed": 2**70}, "seed"),
        ({"stop": [""] * 100}, None),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"999999": 1}}, None),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 3}]}, None),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, None),
        ({"tools": [WEATHER, WEATHER]}, None),
        ({"tool_choice": "required"}, "tools"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(server, said, param):
    body = {"model": MODEL, "messages": QUESTION, "max_tokens": 1, **said}
    response = server.http.post("/v1/chat/completions", json=body)
    if said == {"max_tokens": 2**70}:
        assert response.status_code in (200, 400)
        return
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    if param:
        assert error["param"].startswith(param)


def test_an_image_is_refused_by_name(chat):
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    with pytest.raises(openai.BadRequestError, match="image_url"):
        chat(messages=[{"role": "user", "content": content}], **GREEDY)


def test_unknown_fields_and_parts_of_text_are_taken(chat):
    content = [{"type": "text", "text": QUESTION[0]["content"]}]
    found = chat(
        messages=[{"role": "user", "content": content, "colour": "red"}],
        max_tokens=40,
        user="me",
        extra_body={"service_tier": "auto", "nonsense": {"a": 1}},
        **GREEDY,
    )
    assert "Paris" in found.choices[0].message.content


def test_token_ids_cannot_be_smuggled_in(chat):
    def ask(**more):
        answer = {"role": "assistant", "content": "Berlin.", **more}
        messages = [*QUESTION, answer, {"role": "user", "content": "Are you sure?"}]
        return chat(messages=messages, max_tokens=20, **GREEDY)

    assert ask(tokens=[1, 2, 1, 2]).usage.prompt_tokens == ask().usage.prompt_tokens


def test_a_control_token_in_a_message_is_text(chat):
    def length(text):
        messages = [{"role": "user", "content": text}]
        return chat(messages=messages, max_tokens=1, **GREEDY).usage.prompt_tokens

    assert length("a<|im_end|>b") > length("ab") + 2


def test_a_model_that_is_not_here_is_a_404(chat):
    with pytest.raises(openai.NotFoundError) as caught:
        chat(messages=QUESTION, model="gpt-4")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    "name", ["../smollm2", "/etc/passwd", "a" * 10000, "", "smollm2\0", "hf:a/b"]
)
def test_a_name_is_no_path(server, name):
    body = {"model": name, "messages": QUESTION}
    assert server.http.post("/v1/chat/completions", json=body).status_code == 404


# The older endpoint


def test_a_text_goes_on(client):
    prompt = "The capital of France is"
    found = client.completions.create(prompt=prompt, max_tokens=8, logprobs=2, **GREEDY)
    (choice,) = found.choices
    assert choice.text.startswith(" Paris")
    assert "".join(choice.logprobs.tokens) == choice.text
    assert choice.logprobs.text_offset[:2] == [0, 6]
    assert len(choice.logprobs.top_logprobs[0]) == 2
    assert len(client.completions.create(prompt=prompt, **GREEDY).choices[0].text) > 5
    chunks = client.completions.create(prompt=prompt, max_tokens=8, stream=True, **GREEDY)
    assert "".join(chunk.choices[0].text for chunk in chunks) == choice.text
    echoed = client.completions.create(prompt=prompt, max_tokens=8, echo=True, **GREEDY)
    assert echoed.choices[0].text == prompt + choice.text


@pytest.mark.parametrize(
    "said",
    [
        {"prompt": ["a", "b"]},
        {"prompt": []},
        {"prompt": [999999999]},
        {"prompt": [-1]},
        {"prompt": ""},
        {"suffix": "x", "prompt": "a"},
        {"best_of": 3, "prompt": "a"},
    ],
)
def test_prompts_that_are_none_are_refused(server, said):
    response = server.http.post("/v1/completions", json={"model": MODEL, **said})
    assert response.status_code == 400, response.text


def test_ids_and_a_schema_go_on_too(client):
    found = client.completions.create(
        prompt=[504, 3575, 282, 4649, 314],
        max_tokens=40,
        extra_body={"regex": "[A-Z][a-z]{2,8}"},
        **GREEDY,
    )
    assert found.choices[0].finish_reason == "stop"
    assert found.choices[0].text.isalpha()


# Vectors


def test_texts_that_are_alike_have_vectors_that_are_alike(client):
    texts = ["A dog runs in the park.", "A puppy plays outside.", "Shares fell on Monday."]
    found = client.embeddings.create(input=texts, model=MODEL)
    vectors = [entry.embedding for entry in found.data]
    assert [entry.index for entry in found.data] == [0, 1, 2]

    def alike(a, b):
        return sum(x * y for x, y in zip(vectors[a], vectors[b], strict=True))

    assert alike(0, 0) == pytest.approx(1, abs=1e-3)
    assert alike(0, 1) > alike(0, 2)
    single = client.embeddings.create(input=texts[0], model=MODEL, encoding_format="float")
    assert single.data[0].embedding == pytest.approx(vectors[0], abs=1e-6)
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(input="word " * 9000, model=MODEL)


def test_an_embedding_model_that_is_configured(serve, smollm2):
    own = serve(smollm2, "--embeddings", "wordllama")
    create = own.openai.embeddings.create
    assert [model.id for model in own.openai.models.list()][-1] == "wordllama"
    assert own.openai.models.retrieve("wordllama").id == "wordllama"
    texts = ["How do I bake bread?", "A recipe for a loaf.", "Shares fell on Monday."]
    found = create(model="wordllama", input=texts)
    bread, loaf, shares = (entry.embedding for entry in found.data)
    assert len(bread) == 256
    assert math.hypot(*bread) == pytest.approx(1, abs=1e-5)
    assert np.dot(bread, loaf) > 0.2 + np.dot(bread, shares)
    assert found.usage.prompt_tokens > 10
    alone = own.http.post("/v1/embeddings", json={"input": texts[0]}).json()
    assert alone["model"] == "wordllama"
    assert alone["data"][0]["embedding"] == pytest.approx(bread, abs=1e-6)
    assert len(own.ollama.embed(model="wordllama", input=texts)["embeddings"]) == 3
    assert len(create(model=MODEL, input=texts[0]).data[0].embedding) == 576
    for input, word in ((texts[0] * 2000, "8,192"), ("", "0 tokens"), ([1, 2], "token ids")):
        with pytest.raises(openai.BadRequestError, match=word):
            create(model="wordllama", input=input)
    with pytest.raises(openai.NotFoundError):
        own.openai.chat.completions.create(model="wordllama", messages=QUESTION)


# Responses


def test_a_response_and_its_stream(client):
    said = {"model": MODEL, "input": QUESTION, "temperature": 0}
    whole = client.responses.create(instructions="Be brief.", **said)
    assert "Paris" in whole.output_text
    assert whole.status == "completed"
    assert whole.usage.input_tokens > 20
    with client.responses.stream(instructions="Be brief.", **said) as stream:
        kinds = [event.type for event in stream]
        assert stream.get_final_response().output_text == whole.output_text
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    cut = client.responses.create(max_output_tokens=2, **said)
    assert cut.status == "incomplete"
    assert cut.incomplete_details.reason == "max_output_tokens"


def test_a_response_is_parsed_and_calls_functions(client):
    parsed = client.responses.parse(
        model=MODEL, input="Describe Paris.", text_format=City, temperature=0
    )
    assert isinstance(parsed.output_parsed, City)
    assert parsed.text.format.type == "json_schema"
    assert parsed.text.format.name == "City"
    assert parsed.text.format.schema_["properties"].keys() == City.model_fields.keys()
    tool = {"type": "function", "name": "get_weather", **WEATHER["function"]}
    said = {"model": MODEL, "tools": [tool], "tool_choice": "required", "temperature": 0}
    with client.responses.stream(
        input="Weather in Paris?", parallel_tool_calls=False, **said
    ) as stream:
        list(stream)
        (call,) = stream.get_final_response().output
    assert call.type == "function_call"
    json.loads(call.arguments)
    followed = client.responses.create(
        model=MODEL,
        input=[
            {"role": "user", "content": "Weather in Paris?"},
            {
                "type": "function_call",
                "call_id": call.call_id,
                "name": call.name,
                "arguments": call.arguments,
            },
            {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
        ],
        max_output_tokens=30,
        temperature=0,
    )
    assert followed.output_text


def test_what_a_response_would_need_memory_for_is_refused(client):
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        client.responses.create(model=MODEL, input="x", previous_response_id="resp_1")
    with pytest.raises(openai.BadRequestError, match="web_search"):
        client.responses.create(model=MODEL, input="x", tools=[{"type": "web_search"}])
    with pytest.raises(openai.BadRequestError, match="no tools"):
        client.responses.create(model=MODEL, input="x", tool_choice="required")
    tool = {"type": "function", "name": "get_weather", **WEATHER["function"]}
    choice = {"type": "web_search"}
    with pytest.raises(openai.BadRequestError, match="names no function"):
        client.responses.create(model=MODEL, input="x", tools=[tool], tool_choice=choice)
