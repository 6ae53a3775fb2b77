"""Sentences that end with a word: told from what is said around them, and judged one by one."""

import json
import re
from dataclasses import replace

import pytest

from pocketlm.chat.tools import Call
from pocketlm.errors import ParameterError
from pocketlm.evaluate.probes.apple import PROBE, sentences
from pocketlm.evaluate.probes.probe import Variant

GOOD = [
    "For breakfast she ate a red apple.",
    "He drew a picture of an apple.",
    "Nothing keeps as well in winter as an apple.",
    "Who has taken my last apple?",
    "On the table there was only one apple!",
]


def variant(count: int = 5, word: str = "apple") -> Variant:
    return replace(PROBE.variants(0, 1)[0], facts={"word": word, "count": count})


NUMBERED = "\n".join(f"{n}. {each}" for n, each in enumerate(GOOD, 1))


@pytest.mark.parametrize(
    "answer",
    [
        NUMBERED,
        "\n".join(GOOD),
        " ".join(GOOD),
        f"Sure! Here are five sentences that end with the word apple:\n\n{NUMBERED}",
        f"Here are the sentences you asked for:\n{NUMBERED}\n\nI hope these help!",
        f"Here you are.\n\n{' '.join(GOOD)}",
        "\n\n".join(f"- {each}" for each in GOOD),
        "\n".join(f"({n}) {each}" for n, each in enumerate(GOOD, 1)),
        "\n".join(f'{n}) "{each}"' for n, each in enumerate(GOOD, 1)),
        "\n".join(f"* {each[:-1].replace('apple', '**apple**')}." for each in GOOD),
        "\n".join(f"{n}: {each.replace('apple', 'Apple')}" for n, each in enumerate(GOOD, 1)),
        "\n".join(each.rstrip(".!?") for each in GOOD),
        f"```\n{NUMBERED}\n```",
        f"```text\n{' '.join(GOOD)}\n```\nThese five sentences end with apple.",
    ],
)
def test_good_sentences_pass_whatever_is_said_around_them(answer):
    verdict = PROBE.judge(variant(), answer)
    assert verdict.passed, verdict.why


@pytest.mark.parametrize(
    ("answer", "score", "word"),
    [
        (NUMBERED.replace("a red apple.", "two red apples."), 0.8, 'the first ends with "apples"'),
        (NUMBERED.replace("red apple.", "apple that was red."), 0.8, 'ends with "red"'),
        ("\n".join(NUMBERED.splitlines()[:2]), 0.4, "2 of 2"),
        (f"{NUMBERED}\n6. I like my apple sweet.", 5 / 6, "the 6th"),
        (f"{NUMBERED}\n6. I like a sweet apple.", 5 / 6, "6 of 6"),
        ("\n".join([NUMBERED.splitlines()[0]] * 5), 0.2, "was there before"),
        ("1. apple\n2. An apple.\n3. apple apple apple apple apple.", 0, "no sentence"),
        (
            "1. The first one ends with apple.\n2. The second one ends with apple.\n"
            "3. The third one ends with apple.\n4. The fourth one ends with apple.\n"
            "5. The fifth one ends with apple.",
            0.6,
            "one other word",
        ),
        ("Apples are fruit that grow on trees.", 0, "trees"),
        ("apple", 0, "no sentence"),
        ("apple " * 500, 0, "no sentence"),
        ("I cannot think of any.", 0, "any"),
        ("Please tell me which sentences you want with the word apple.", 0, "0 of 0"),
        ("```python\nfor n in range(5):\n    print('I eat my very red apple')\n```", 0, "0 of 0"),
        ("```python\nprint('I eat my very red apple')", 0, "0 of 0"),
    ],
)
def test_each_sentence_counts_for_itself(answer, score, word):
    verdict = PROBE.judge(variant(), answer)
    assert verdict.score == pytest.approx(score), verdict.why
    assert word in verdict.why


def test_sentences_are_told_from_what_is_said_around_them():
    assert sentences("Sure! Here is one:\n1. One is here. And two.\n2. Three.") == [
        "One is here. And two.",
        "Three.",
    ]
    assert sentences('He said "Go." Then he left. It cost 3.50 in all.') == [
        'He said "Go.',
        "Then he left.",
        "It cost 3.50 in all.",
    ]
    assert sentences("Of course! I see it.\nLet me know if you want more.") == ["I see it."]
    assert sentences("") == []


def test_the_forced_form_is_one_that_passes():
    for found in PROBE.variants(2):
        word, count = found.facts["word"], found.facts["count"]
        words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
        lines = [
            f"{n}. Only {words[n - 1]} of us saw {words[-n]} of them with a {word}."
            for n in range(1, count + 1)
        ]
        assert isinstance(found.constrained.value, str)
        assert re.fullmatch(found.constrained.value, "\n".join(lines))
        assert PROBE.judge(found, "\n".join(lines)).passed


def test_sentences_that_were_given_are_the_answer():
    (skill,) = PROBE.skills(variant())
    assert skill.run({"sentences": GOOD}) == "given"
    with pytest.raises(ParameterError, match="An apple is red"):
        skill.run({"sentences": [*GOOD[:2], "An apple is red."]})
    good = Call("give_sentences", json.dumps({"sentences": GOOD}))
    bad = Call("give_sentences", json.dumps({"sentences": ["An apple is red."]}))
    assert PROBE.judge(variant(), PROBE.answer(variant(), "Done.", [bad, good])).passed
    assert PROBE.answer(variant(), "No.", [bad]) == "No."
