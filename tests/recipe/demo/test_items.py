"""Items are from the texts; one option is right; what is spoilt differs little and is new."""

from __future__ import annotations

from collections import Counter

import pytest

from pocketlm.recipe.demo import items
from pocketlm.recipe.demo.sentences import sentences
from pocketlm.recipe.demo.spoiling import RULES

VERBS = [
    "reads",
    "opens",
    "checks",
    "prints",
    "sorts",
    "joins",
    "moves",
    "copies",
    "splits",
    "merges",
]
NOUNS = [
    "file",
    "table",
    "record",
    "message",
    "packet",
    "buffer",
    "stream",
    "window",
    "socket",
    "pointer",
]


def text(number: int) -> str:
    """A manual page of sorts; each is different."""
    verb, noun = VERBS[number % 10], NOUNS[number // 10 % 10]
    flags = "\n\n".join(
        f"--{verb[:-1]}-{each}: make the {each} that the {noun} is stored in empty before it {verb}"
        for each in NOUNS[:3]
    )
    return (
        f"NAME\n\n{verb[:3]}{noun} - a program that {verb} every {noun} of a system\n\n"
        f"The program {verb} a {noun} number {number} when it is called. This {noun} is needed by"
        f" two files in an old folder. It must be {verb[:-1]}ed before 30 seconds are over."
        f" There are many programs that can use the {noun} of a list.\n\n"
        f"Notes on {verb} and {noun}\n-----\n"
        f"Every {noun} that the {verb[:3]} program {verb} has a name of its own."
        f"\n\n{flags}"
    )


TEXTS = [text(number) for number in range(100)]


def test_choices() -> None:
    made = items.choices(TEXTS, count=300, seed=1)
    assert len(made) == 300
    kinds = Counter(each.kind for each in made)
    assert set(kinds) >= {"term", "flag", "heading", "cloze"}
    everything = " ".join(" ".join(TEXTS).split())
    for each in made:
        assert len(set(each.options)) == 4
        if each.kind == "cloze":
            assert f"{each.context} {each.options[each.right]}" in everything
            wrong = {option.split()[0] for option in each.options} - {
                each.options[each.right].split()[0]
            }
            assert len(wrong) == 3
        else:
            assert each.options[each.right] in everything
    places = Counter(each.right for each in made)
    assert min(places[place] for place in range(4)) > 45


def test_the_right_flag_is_right() -> None:
    for each in items.choices(TEXTS, count=100, seed=1):
        if each.kind == "flag":
            said = each.context.split(" The option for this is")[0]
            owner = next(
                one for one in TEXTS if f"{each.options[each.right]}: m{said[1:-1]}" in one
            )
            assert owner


def test_pairs() -> None:
    made = items.pairs(TEXTS, count=400, seed=1)
    assert len(made) == 400
    assert {each.kind for each in made} == set(RULES)
    everything = " ".join(" ".join(TEXTS).split())
    for each in made:
        assert each.good in everything
        assert each.bad not in everything
        good, bad = each.good.split(), each.bad.split()
        assert len(good) == len(bad)
        assert sum(one != other for one, other in zip(good, bad, strict=True)) in (1, 2)
    assert max(Counter(each.good for each in made).values()) <= 3


def test_the_same_by_seed_and_not_by_order() -> None:
    assert items.pairs(TEXTS, count=50, seed=1) == items.pairs(TEXTS[::-1], count=50, seed=1)
    assert items.choices(TEXTS, count=50, seed=1) == items.choices(TEXTS[::-1], count=50, seed=1)
    assert items.pairs(TEXTS, count=50, seed=1) != items.pairs(TEXTS, count=50, seed=2)


def test_nothing_of_nothing() -> None:
    assert items.choices([], count=10, seed=1) == []
    assert items.pairs(["x = 1\n\nif x:\n    print(x)"], count=10, seed=1) == []


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("agreement", "The file is empty now.", "The file are empty now."),
        ("agreement", "These files are empty now.", "These files is empty now."),
        ("agreement", "There is no such file.", "There are no such file."),
        ("determiner", "It reads this file.", "It reads these file."),
        ("determiner", "Those files are read.", "That files are read."),
        ("article", "It is an error.", "It is a error."),
        ("order", "It opens the file.", "It opens file the."),
        ("verb form", "It must be read.", "It must is read."),
        ("verb form", "They have been read.", "They have be read."),
        ("number", "It takes two arguments.", "It takes two argument."),
        ("capital", "The file is read.", "the file is read."),
        ("stop", "The file is read.", "The file is read,"),
    ],
)
def test_rules(kind: str, good: str, bad: str) -> None:
    assert bad in list(RULES[kind](good))


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("agreement", "The files of the system were lost."),
        ("agreement", "He asks that it be read."),
        ("determiner", "This is a file."),
        ("determiner", "This class is empty."),
        ("article", "It is a union of an hour."),
        ("number", "The function calls 2 equals 3."),
        ("unit", "It has two arguments."),
    ],
)
def test_rules_that_do_not_apply(kind: str, sentence: str) -> None:
    spoilt = list(RULES[kind](sentence))
    assert spoilt == [] or (kind == "agreement" and spoilt == ["The files of the system was lost."])


def test_units_change_their_kind() -> None:
    (bad,) = RULES["unit"]("It waits for 30 seconds.")
    assert bad.startswith("It waits for 30 ")
    assert bad.rstrip(".").split()[-1] in (
        [
            "bits",
            "kilobytes",
            "megabytes",
            "characters",
            "lines",
            "columns",
            "pixels",
            "inches",
            "digits",
            "bytes",
        ]
    )


def test_sentences_are_prose() -> None:
    found = list(
        sentences(
            "A file is a row of bytes on a disk. It has one, e.g. that of a person.\n\n"
            "x = [1, 2]\n\nDas ist ein Satz auf Deutsch und er ist lang.\n\nToo short is this."
        )
    )
    assert found == ["A file is a row of bytes on a disk.", "It has one, e.g. that of a person."]
