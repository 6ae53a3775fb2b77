import pytest

from pocketlm.assistant.deciding import question_of


@pytest.mark.parametrize(
    "text",
    [
        "When was the mill built?",
        "who conducts the Tallow Club",
        "Tell me about basket ferns.",
        "The capital of France?",
        "look up the opening hours of the museum",
    ],
)
def test_what_is_looked_up(text):
    assert question_of([text]) == text


@pytest.mark.parametrize(
    "text",
    [
        "Hello!",
        "Write a poem about the sea.",
        "Can you translate this into German: good morning?",
        "Summarise the text above.",
        "How are you?",
        "Who are you?",
        "Thanks, that helped.",
        "What is it?",
        "",
    ],
)
def test_what_is_not(text):
    assert question_of([text]) is None


@pytest.mark.parametrize(
    ("before", "text", "question"),
    [
        (["Where is Orsk Mill?"], "When was it built?", "When was it built? (Orsk Mill)"),
        (
            ["Who is Marta Sand?", "Where does she live?"],
            "And how old is she?",
            "And how old is she? (Marta Sand)",
        ),
        (["Where do ferns grow?"], "What eats them?", "What eats them? (ferns, grow)"),
        (["Where is Orsk Mill?"], "Where is Pell Castle?", "Where is Pell Castle?"),
        (["Hello"], "Who is he?", "Who is he? (Hello)"),
    ],
)
def test_what_leans_on_something_gets_it(before, text, question):
    assert question_of([*before, text]) == question
