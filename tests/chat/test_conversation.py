"""What a conversation keeps, and what of it goes into the prompt."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketlm.chat.conversation import Conversation, room
from pocketlm.chat.prompt import chat_tokens
from pocketlm.errors import ContextError, HistoryError, ParameterError


def words(messages) -> list[int]:
    """A stand-in for a tokenizer whose counts are plain to see: one token a word, one a message."""
    return [0 for message in messages for _ in [0, *message["content"].split()]]


def talk(turns: int, system: str | None = "be kind") -> Conversation:
    conversation = Conversation(system)
    for turn in range(turns):
        conversation.add_user(f"question {turn}")
        conversation.add_assistant(f"answer {turn}", tokens=[turn])
    return conversation


def test_what_is_said_is_kept() -> None:
    conversation = talk(1)
    conversation.update_assistant("answer 0 and more", [0, 1])
    assert conversation.prompt_messages() == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "question 0"},
        {"role": "assistant", "content": "answer 0 and more", "tokens": [0, 1]},
    ]
    conversation.set_system("")
    assert conversation.prompt_messages()[0]["role"] == "user"


def test_an_answer_begins_after_a_question() -> None:
    conversation = Conversation()
    conversation.add_user("a")
    conversation.update_assistant("b")
    conversation.update_assistant("bc")
    assert [message["content"] for message in conversation.messages] == ["a", "bc"]
    conversation.add_user("d")
    conversation.update_assistant("e")
    assert [message["content"] for message in conversation.messages] == ["a", "bc", "d", "e"]


def test_regenerate() -> None:
    conversation = talk(2)
    conversation.drop_answer()
    assert conversation.messages[-1] == {"role": "user", "content": "question 1"}
    conversation.drop_answer()
    assert conversation.messages[-1] == {"role": "user", "content": "question 1"}
    with pytest.raises(ParameterError, match="no answer"):
        Conversation("x").drop_answer()
    conversation.drop_turn()
    assert conversation.messages == talk(1).messages
    Conversation().drop_turn()


def test_reset_keeps_the_system_prompt() -> None:
    conversation = talk(3)
    conversation.id, conversation.title = 7, "x"
    conversation.fit(12, words)
    conversation.reset()
    assert (conversation.system, conversation.messages) == ("be kind", [])
    assert (conversation.id, conversation.title, conversation.dropped) == (None, None, 0)


def test_the_oldest_turns_are_dropped_whole() -> None:
    conversation = talk(5)
    conversation.add_user("question 5")  # 3 + 5 * 6 + 3 = 36 words
    fit = conversation.fit(36, words)
    assert (len(fit.tokens), fit.dropped) == (36, 0)
    fit = conversation.fit(35, words)
    assert (len(fit.tokens), fit.dropped) == (30, 1)
    prompt = conversation.prompt_messages()
    assert prompt[0]["role"] == "system"
    assert prompt[1]["content"] == "question 1"
    assert len(conversation.messages) == 11  # nothing is forgotten
    fit = conversation.fit(12, words)
    assert (len(fit.tokens), fit.dropped, conversation.dropped) == (12, 3, 4)
    # Once dropped, dropped: the prompt's beginning stays what the cache holds.
    assert conversation.fit(1000, words).dropped == 0
    assert conversation.dropped == 4


def test_a_last_turn_that_is_too_long() -> None:
    conversation = talk(2)
    conversation.add_user("one two three")
    with pytest.raises(ContextError, match="7 tokens, and the context has room for 6"):
        conversation.fit(6, words)
    assert conversation.dropped == 0
    conversation.drop_turn()
    assert conversation.fit(9, words).dropped == 1
    with pytest.raises(ContextError, match="room for 8"):
        conversation.fit(8, words)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(0, 60))
def test_no_more_turns_than_needed_are_dropped(lengths: list[int], window: int) -> None:
    conversation = Conversation("s")
    for length in lengths:
        conversation.add_user("w " * length)
    sizes = [2 + sum(1 + length for length in lengths[first:]) for first in range(len(lengths))]
    fitting = [first for first, size in enumerate(sizes) if size <= window]
    if fitting:
        assert conversation.fit(window, words).dropped == fitting[0]
        assert len(words(conversation.prompt_messages())) == sizes[fitting[0]]
    else:
        with pytest.raises(ContextError):
            conversation.fit(window, words)


def test_a_real_prompt(smollm) -> None:
    conversation = talk(40)
    conversation.add_user("And now?")
    fit = conversation.fit(
        400, lambda messages: chat_tokens(smollm.template, smollm.tokenizer, messages)
    )
    assert 300 < len(fit.tokens) <= 400
    text = smollm.tokenizer.decode(fit.tokens)
    assert "be kind" in text
    assert text.endswith("And now?\nassistant\n")
    assert "question 1\n" not in text


def test_files() -> None:
    conversation = talk(2)
    conversation.title = "Älter"
    back = Conversation.from_json(conversation.to_json())
    assert (back.system, back.title, back.id) == ("be kind", "Älter", None)
    assert [(m["role"], m["content"]) for m in back.messages] == [
        (m["role"], m["content"]) for m in conversation.messages
    ]
    assert "tokens" not in conversation.to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"format": "x"},
        {"version": 2},
        {"messages": {}},
        {"messages": [1]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "<|end|>", "content": ""}]},
        {"messages": [{"role": "assistant", "content": "", "tokens": [1]}]},
        {"system": 3},
        {"title": []},
    ],
)
def test_files_that_are_no_conversation(change) -> None:
    content = {**json.loads(talk(1).to_json()), **change}
    with pytest.raises(HistoryError) as caught:
        Conversation.from_json(json.dumps(content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '"x"'])
def test_files_that_are_no_json(text: str) -> None:
    with pytest.raises(HistoryError, match="not a conversation"):
        Conversation.from_json(text)


def test_as_markdown() -> None:
    conversation = Conversation("Be kind.")
    conversation.add_user("What is the capital of France?")
    conversation.add_assistant("**Paris**, of course.\n", [1, 2])
    assert conversation.to_markdown("Capitals\nof France") == (
        "# Capitals of France\n\n## System prompt\n\nBe kind.\n\n"
        "## You\n\nWhat is the capital of France?\n\n## Answer\n\n**Paris**, of course.\n"
    )


def test_room_for_an_answer() -> None:
    assert room(8192, None) == 512
    assert room(8192, 40) == 40
    assert room(1000, None) == room(1000, 5000) == 250
    assert room(3, None) == 1
