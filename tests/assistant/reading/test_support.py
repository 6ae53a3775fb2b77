import pytest

from pocketlm.assistant.reading.support import best_support, supported

MILL = (
    "Orsk Mill stands on the east bank of the river Lunn. It was built in 1783 by the brothers Jan"
    " and Piet Velder and ground rye until 1921. It has 4,000 visitors a year."
)
CHOIR = "The Tallow Club is a choir from Brenholm. Its conductor, Marta Sand, took over in 2009."


@pytest.mark.parametrize(
    "sentence",
    [
        "The mill was built in 1783.",
        "Jan and Piet Velder built the mill.",
        "It ground rye until 1921.",
        "The mill has 4000 visitors each year.",
        "Orsk Mill is on the east bank of the Lunn.",
    ],
)
def test_what_the_passage_says(sentence):
    assert supported(sentence, MILL)


@pytest.mark.parametrize(
    "sentence",
    [
        "The mill was built in 1784.",  # another number
        "The mill was built by Ada Thorne in 1783.",  # another name
        "Rye bread tastes best with salted butter and honey.",  # other words
        "It is.",  # nothing
        "",
    ],
)
def test_what_it_does_not_say(sentence):
    assert not supported(sentence, MILL)


def test_the_passage_that_supports_best():
    assert best_support("Marta Sand conducts the choir.", [MILL, CHOIR]) == 1
    assert best_support("The mill was built in 1783.", [CHOIR, MILL]) == 1
    assert best_support("Cows eat grass all day.", [MILL, CHOIR]) is None
    assert best_support("The mill was built in 1783.", []) is None
