"""Harmless prose without end, to hide something in: sentences drawn from lists, by a seed.

None holds a digit, and none says anything that another sentence asks for.
"""

import random
import re
from collections.abc import Iterator

_WHO = (
    "the baker",
    "a retired teacher",
    "my neighbour",
    "the ferryman",
    "an old gardener",
    "the postman",
    "her younger brother",
    "a travelling musician",
    "the carpenter's daughter",
    "our aunt",
    "the shopkeeper",
    "a tall stranger",
    "the doctor's wife",
    "one of the fishermen",
    "the schoolmaster",
    "a painter from the south",
)
_DID = (
    "mended a wooden gate",
    "told a long story about the sea",
    "sold two baskets of apples",
    "painted the kitchen wall green",
    "listened to the radio",
    "carried a heavy ladder up the hill",
    "planted a row of onions",
    "wrote a letter and never sent it",
    "looked for a lost umbrella",
    "sang a song that nobody knew",
    "boiled water for tea",
    "borrowed a book about birds",
    "repaired a bicycle with a piece of wire",
    "fed the ducks",
    "counted the boats that came home",
    "cut bread for the whole family",
    "complained about the price of salt",
    "slept through most of the day",
    "argued about the weather",
    "polished a pair of brown boots",
)
_WHERE = (
    "behind the church",
    "near the river",
    "in the yard",
    "at the end of the lane",
    "under the chestnut trees",
    "beside the market square",
    "on the stone bridge",
    "in front of the inn",
    "by the open window",
    "at the edge of the forest",
    "in the narrow street",
    "down at the harbour",
    "between the two barns",
    "on the way to the village",
)
_WHEN = (
    "in the early morning",
    "after the rain had stopped",
    "on a quiet afternoon",
    "shortly before dinner",
    "towards the end of summer",
    "when the bells began to ring",
    "during the first cold week",
    "as soon as it grew light",
    "late in the evening",
    "on market day",
    "while the others were away",
    "long before the snow came",
)
_SO = (
    "because the wind had turned",
    "and nobody thought much of it",
    "although there was little time",
    "which made the children laugh",
    "as people there have always done",
    "without saying a word",
    "and went home early",
    "to everybody's surprise",
    "since there was nothing else to do",
    "and the dog watched all of it",
)
_FORMS = (
    "{when}, {who} {did} {where}.",
    "{who} {did} {where}, {so}.",
    "{who} {did} {when}.",
    "{when} {who} {did}, {so}.",
    "{where}, {who} {did}, {so}.",
)
_BETWEEN = re.compile(r"(?<=[.!?])\s+")


def invented(seed: int) -> Iterator[str]:
    """Sentences without end; the same seed gives the same ones."""
    draw = random.Random(seed)
    while True:
        sentence = draw.choice(_FORMS).format(
            who=draw.choice(_WHO),
            did=draw.choice(_DID),
            where=draw.choice(_WHERE),
            when=draw.choice(_WHEN),
            so=draw.choice(_SO),
        )
        yield sentence[0].upper() + sentence[1:]


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text, each on one line."""
    for part in _BETWEEN.split(text):
        if part.strip():
            yield " ".join(part.split())
