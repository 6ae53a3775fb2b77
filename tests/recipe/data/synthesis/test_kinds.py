"""Answers that become documents, and those that do not, for what reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.recipe.data.pages import BREAD, WATER
from tests.recipe.data.synthesis.writers import prose

from pocketlm.errors import ParameterError
from pocketlm.recipe.data.synthesis import plan
from pocketlm.recipe.data.synthesis.fitness import check_echo, check_repetition, cleaned
from pocketlm.recipe.data.synthesis.kinds import Draft, Kind, UnfitError, made
from pocketlm.recipe.data.synthesis.seeds import Seed

SEED = Seed("tides", "a child", "plain", 0, 7)


def reason(kind: Kind, answer: str, seed: Seed = SEED) -> str:
    with pytest.raises(UnfitError) as found:
        kind.draft(seed, answer)
    return f"{found.value.reason}: {found.value.detail}"


@pytest.fixture
def exercise() -> Kind:
    return made(plan.Exercise(kind="exercise"))


@pytest.fixture
def dialogue() -> Kind:
    return made(plan.Dialogue(kind="dialogue", exchanges=(2, 3)))


@pytest.fixture
def reasoning() -> Kind:
    return made(plan.Reasoning(kind="reasoning", problems=("sharing",)))


def test_a_textbook_section() -> None:
    kind = made(plan.Textbook(kind="textbook", words=(20, 40)))
    prompt = kind.prompt(SEED)
    assert "Topic: tides" in prompt
    assert "about 20 to 40 words" in prompt
    assert kind.draft(SEED, WATER[0]) == Draft(WATER[0])
    assert reason(kind, "Tides rise.") == "too short: 2 words"
    assert reason(kind, f"{WATER[0]} 3 × 4 = 13.") == "wrong arithmetic: 3 × 4 = 13 (it is 12)"


@pytest.mark.parametrize(
    "answer",
    [
        "Exercise: How many?\nSolution: 3 × 4 = 12.\nAnswer: 12",
        "**Exercise:** How many?\n\n**Solution:** 3 × 4 = 12.\n\n**Answer:** 12",
        "**Exercise**: How many?\n\n**Solution**: 3 × 4 = 12.\n\n**Answer**: 12\n",
        "### Exercise: How many?\n\n### Solution:\n3 × 4 = 12.\n\n---\n\n### Answer: 12",
        "exercise: How many?\nsolution: 3 × 4 = 12.\nanswer: 12",
    ],
)
def test_an_exercise(exercise: Kind, answer: str) -> None:
    expected = "Exercise: How many?\n\nSolution: 3 × 4 = 12.\n\nAnswer: 12"
    assert exercise.draft(SEED, answer).text == expected


def test_exercises_that_are_none(exercise: Kind) -> None:
    assert reason(exercise, "How many? 3 × 4 = 12. Answer: 12").startswith("not in the form")
    assert reason(exercise, "Exercise: a\nSolution:\nAnswer: 12") == (
        "not in the form: a part is empty"
    )
    assert reason(exercise, "Exercise: a\nSolution: 3 + 4 = 8\nAnswer: 8") == (
        "wrong arithmetic: 3 + 4 = 8 (it is 7)"
    )
    assert reason(exercise, "Exercise: a 3\nSolution: 3 + 4 = 7\nAnswer: 8") == (
        "answer not in the solution: 8"
    )
    assert reason(exercise, "Exercise: a\nSolution: b\nAnswer: c\n\nHope this helps!") == (
        "not in the form: goes on after the answer"
    )
    text = exercise.draft(SEED, "Exercise: why?\nSolution: so.\nAnswer: because").text
    assert text.endswith("Answer: because")


def test_a_dialogue_in_phi_3s_turns(dialogue: Kind) -> None:
    answer = "User: Why tides?\n\n**Assistant:** The moon.\nIt pulls.\nUser: And 2 + 2 = 5?\n"
    found = dialogue.draft(SEED, f"{answer}Assistant: No: 2 + 2 = 4.")
    assert found.messages == (
        {"role": "user", "content": "Why tides?"},
        {"role": "assistant", "content": "The moon.\nIt pulls."},
        {"role": "user", "content": "And 2 + 2 = 5?"},
        {"role": "assistant", "content": "No: 2 + 2 = 4."},
    )
    assert found.text == (
        "<|user|>\nWhy tides?<|end|>\n<|assistant|>\nThe moon.\nIt pulls.<|end|>\n"
        "<|user|>\nAnd 2 + 2 = 5?<|end|>\n<|assistant|>\nNo: 2 + 2 = 4.<|end|>"
    )
    asked = [dialogue.prompt(Seed("t", "a", "s", 0, n)) for n in range(20)]
    assert {2, 3} == {n for n in range(9) for prompt in asked if f"asks {n} times" in prompt}


def test_dialogues_that_are_none(dialogue: Kind) -> None:
    turns = "User: a\nAssistant: b\nUser: c\nAssistant: d"
    assert "begins before the first turn" in reason(dialogue, f"A talk.\n{turns}")
    assert reason(dialogue, turns[:25]) == "too few turns: 2"
    assert "do not alternate" in reason(dialogue, f"{turns}\nUser: e")
    assert "do not alternate" in reason(dialogue, "Assistant: x\n" + turns)
    assert "a turn is empty" in reason(dialogue, turns.replace("c", ""))
    assert "3 + 4 = 8" in reason(dialogue, turns.replace("d", "3 + 4 = 8"))


def test_a_problem_with_a_known_answer(reasoning: Kind) -> None:
    prompt = reasoning.prompt(SEED)
    facts = [line[2:] for line in prompt.splitlines() if line.startswith("- ")]
    assert len(facts) == 3
    told = f"On the shore {', '.join(facts)}. How many are left over?"
    things, broken, people = (int(n) for n in re.findall(r"\d+", told))
    right = (things - broken) % people
    solution = f"{things} - {broken} = {things - broken}, and shared there remain {right}."
    answer = f"Problem: {told}\nSolution: {solution}\nAnswer: {right} shells"
    assert reasoning.draft(SEED, answer).text.startswith("Problem: On the shore")
    assert reason(reasoning, answer.replace(f"{right} shells", f"{right + 1}")) == (
        f"wrong answer: {right + 1} (it is {right})"
    )
    lost = answer.replace(f"{broken} of them", "some of them")
    assert reason(reasoning, lost) == f"facts are missing: {broken}"
    wrong = answer.replace(f"= {things - broken}", f"= {things - broken + 1}")
    assert reason(reasoning, wrong).startswith("wrong arithmetic")


def test_names_must_stay() -> None:
    kind = made(plan.Reasoning(kind="reasoning", problems=("ranking",)))
    facts = [line[2:] for line in kind.prompt(SEED).splitlines() if line.startswith("- ")]
    name = facts[0].split()[0]
    told = " and ".join(facts).replace(name, "somebody")
    found = reason(kind, f"Problem: {told}\nSolution: so\nAnswer: {name}")
    assert found == f"facts are missing: {name}"


def test_what_is_wrong_whatever_it_is_about() -> None:
    assert cleaned("Sure! Here is the section you asked for:\n\nTides rise.", False) == (
        "Tides rise."
    )
    assert cleaned("Here are three ways in which water boils.", False).startswith("Here are")
    for answer, cut, reason in (
        (" \n", False, "empty"),
        ("Tides", True, "not finished"),
        ("Tides.<|end|>", False, "not in the form"),
        ("As an AI language model, I like tides.", False, "speaks of itself"),
        ("I'm sorry, but I can't assist with that.", False, "speaks of itself"),
    ):
        with pytest.raises(UnfitError) as found:
            cleaned(answer, cut)
        assert found.value.reason == reason


def test_repetition() -> None:
    check_repetition(" ".join(WATER + BREAD))
    check_repetition(prose(1, 500))
    check_repetition("")
    with pytest.raises(UnfitError, match="repeats itself"):
        check_repetition("The moon pulls the water up. " * 9)
    with pytest.raises(UnfitError, match="repeats itself"):
        check_repetition(f"{WATER[0]} {WATER[1]} {WATER[0]}")


def test_a_prompt_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "mine.txt"
    own.write_text('Write of {topic}, as {"a": {b 1}} and {audience}.')
    kind = made(plan.Textbook(kind="textbook", prompt=own))
    assert kind.prompt(Seed("{style}", "a child", "s", 0, 0)) == (
        'Write of {style}, as {"a": {b 1}} and a child.'
    )
    assert kind.version.startswith("mine.txt ")
    own.write_text("Write of {topic} and {facts}.")
    with pytest.raises(ParameterError, match=r"mine.txt: \{facts\} is no field; there are"):
        made(plan.Textbook(kind="textbook", prompt=own))
    with pytest.raises(ParameterError, match=r"\{question\} is missing"):
        made(plan.Reasoning(kind="reasoning", prompt=own))
    with pytest.raises(ParameterError, match="cannot be read"):
        made(plan.Textbook(kind="textbook", prompt=tmp_path / "none.txt"))


def test_the_request_itself_is_no_answer(exercise: Kind) -> None:
    parroted = "The exercise must be solvable from what it says, have exactly one right answer: 4."
    with pytest.raises(UnfitError, match="repeats the request"):
        check_echo(parroted, exercise.template.text)
    check_echo(" ".join(WATER), exercise.template.text)
