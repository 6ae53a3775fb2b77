"""The dialect of Anthropic's API, spoken by its own client."""

import anthropic
import pytest
from servers import MODEL

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
#: The client has no parameter for the temperature.
SAID = {"model": MODEL, "max_tokens": 60, "extra_body": {"temperature": 0}}
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}},
        "required": ["city"],
    },
}


@pytest.fixture
def messages(server):
    return server.anthropic.messages


def test_a_message_is_answered(messages):
    found = messages.create(messages=QUESTION, **SAID)
    (block,) = found.content
    assert "Paris" in block.text
    assert found.role == "assistant"
    assert found.stop_reason == "end_turn"
    assert found.usage.output_tokens > 3
    cut = messages.create(messages=QUESTION, **{**SAID, "max_tokens": 2})
    assert cut.stop_reason == "max_tokens"


def test_a_stream_is_the_same_text(messages):
    whole = messages.create(messages=QUESTION, system="Be brief.", **SAID)
    with messages.stream(messages=QUESTION, system="Be brief.", **SAID) as stream:
        text = "".join(stream.text_stream)
        last = stream.get_final_message()
    assert text == whole.content[0].text == last.content[0].text
    assert last.stop_reason == whole.stop_reason
    assert last.usage.output_tokens == whole.usage.output_tokens
    total = last.usage.input_tokens + last.usage.cache_read_input_tokens
    assert total == whole.usage.input_tokens + whole.usage.cache_read_input_tokens


def test_a_stop_sequence_is_named(messages):
    found = messages.create(messages=QUESTION, stop_sequences=["nowhere", "Paris"], **SAID)
    assert found.stop_reason == "stop_sequence"
    assert found.stop_sequence == "Paris"
    assert "Paris" not in found.content[0].text


def test_a_prompts_tokens_are_counted(messages):
    count = messages.count_tokens(model=MODEL, messages=QUESTION).input_tokens
    usage = messages.create(messages=QUESTION, **SAID).usage
    assert count == usage.input_tokens + usage.cache_read_input_tokens


def test_tools_are_used_and_their_results_go_back(messages):
    choice = {"type": "any", "disable_parallel_tool_use": True}
    said = {"tools": [WEATHER], **SAID}
    found = messages.create(messages=QUESTION, tool_choice=choice, **said)
    (block,) = found.content
    assert found.stop_reason == "tool_use"
    assert block.name == "get_weather"
    assert set(block.input) == {"city"}
    with messages.stream(messages=QUESTION, tool_choice=choice, **said) as stream:
        last = stream.get_final_message()
    assert last.content[0].input == block.input
    result = {"type": "tool_result", "tool_use_id": block.id, "content": "sunny"}
    answer = messages.create(
        messages=[
            *QUESTION,
            {"role": "assistant", "content": found.content},
            {"role": "user", "content": [result, {"type": "text", "text": "So?"}]},
        ],
        tool_choice={"type": "none"},
        **said,
    )
    assert answer.content[0].text


def test_errors_are_those_that_the_client_knows(messages):
    with pytest.raises(anthropic.NotFoundError):
        messages.create(messages=QUESTION, **{**SAID, "model": "none"})
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    block = {"type": "image", "source": source}
    with pytest.raises(anthropic.BadRequestError, match="image"):
        messages.create(messages=[{"role": "user", "content": [block]}], **SAID)
    with pytest.raises(anthropic.BadRequestError, match="8,192") as caught:
        messages.create(messages=[{"role": "user", "content": "word " * 9000}], **SAID)
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    with pytest.raises(anthropic.BadRequestError, match="no tools"):
        messages.create(messages=QUESTION, tool_choice={"type": "any"}, **SAID)
    with pytest.raises(anthropic.BadRequestError, match="computer"):
        messages.create(messages=QUESTION, tools=[{"type": "computer_1", "name": "c"}], **SAID)
