"""The dialect of Ollama's API, spoken by its own client."""

import json

import ollama
import pytest
from servers import MODEL

import pocketlm

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
GREEDY = {"temperature": 0, "num_predict": 40}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
        },
    },
}


@pytest.fixture
def client(server):
    return server.ollama


def test_a_chat_and_its_stream(client):
    whole = client.chat(model=MODEL, messages=QUESTION, options=GREEDY)
    assert "Paris" in whole.message.content
    assert whole.done
    assert whole.done_reason == "stop"
    assert whole.eval_count > 3
    assert whole.prompt_eval_count > 20
    parts = list(client.chat(model=MODEL, messages=QUESTION, options=GREEDY, stream=True))
    assert "".join(part.message.content for part in parts) == whole.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    cut = client.chat(model=MODEL, messages=QUESTION, options={**GREEDY, "num_predict": 2})
    assert cut.done_reason == "length"


def test_the_tag_that_ollama_would_add_is_taken(client):
    assert client.chat(model=f"{MODEL}:latest", messages=QUESTION, options=GREEDY).done


def test_formats(client):
    schema = {
        "type": "object",
        "properties": {"capital": {"type": "string", "maxLength": 12}},
        "required": ["capital"],
    }
    found = client.chat(model=MODEL, messages=QUESTION, options=GREEDY, format=schema)
    assert set(json.loads(found.message.content)) == {"capital"}
    found = client.generate(model=MODEL, prompt="A dog as JSON", options=GREEDY, format="json")
    assert found.response.startswith("{")
    with pytest.raises(ollama.ResponseError, match="uniqueItems"):
        client.chat(model=MODEL, messages=QUESTION, format={"uniqueItems": True})


def test_generate_answers_continues_and_loads(client):
    text = client.generate(
        model=MODEL, prompt="The capital of France is", raw=True, options=GREEDY
    ).response
    assert text.startswith(" Paris")
    said = client.generate(
        model=MODEL, prompt=QUESTION[0]["content"], system="Be brief.", options=GREEDY
    )
    assert said.response
    loaded = client.generate(model=MODEL)
    assert loaded.done_reason == "load"
    assert loaded.response == ""


def test_tools(client):
    found = client.chat(
        model=MODEL,
        messages=[{"role": "user", "content": "Weather in Paris? Use get_weather."}],
        tools=[WEATHER],
        options=GREEDY,
    )
    for call in found.message.tool_calls or ():
        assert call.function.name == "get_weather"
        assert set(call.function.arguments) == {"city"}
    assert found.message.tool_calls or found.message.content
    call = {"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
    answer = client.chat(
        model=MODEL,
        messages=[
            *QUESTION,
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_name": "get_weather", "content": "sunny"},
        ],
        options=GREEDY,
    )
    assert answer.message.content


def test_what_clients_ask_about(client, server):
    (model,) = [model for model in client.list().models if model.model == MODEL]
    assert model.size > 9e7
    about = client.show(MODEL)
    assert about.modelinfo["llama.context_length"] == 8192
    assert "tools" in about.capabilities
    client.generate(model=MODEL)
    assert MODEL in [model.model for model in client.ps().models]
    assert server.http.get("/api/version").json() == {"version": pocketlm.__version__}
    found = client.embed(model=MODEL, input=["one", "two"])
    assert len(found.embeddings) == 2
    assert sum(x * x for x in found.embeddings[0]) == pytest.approx(1, abs=1e-3)


def test_errors(client):
    with pytest.raises(ollama.ResponseError, match="not on this machine") as caught:
        client.chat(model="none", messages=QUESTION)
    assert caught.value.status_code == 404
    message = {"role": "user", "content": "x", "images": [b"\x89PNG"]}
    with pytest.raises(ollama.ResponseError, match="images"):
        client.chat(model=MODEL, messages=[message])
    with pytest.raises(ollama.ResponseError, match="keep_alive"):
        client.chat(model=MODEL, messages=QUESTION, keep_alive="soon")
    with pytest.raises(ollama.ResponseError, match="suffix"):
        client.generate(model=MODEL, prompt="a", suffix="b")
