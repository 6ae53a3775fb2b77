"""Items to judge a small model by, made by programs from documents that it was not trained on.

`choices` are contexts with four ways to go on, of which one is right; `pairs` are two sentences
that differ in little, of which one is well made. Both are the same for the same texts, count and
seed. It knows how items are put together and dealt out; it scores nothing.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from pocketlm.recipe.demo.asking import FINDERS, Question
from pocketlm.recipe.demo.sentences import bare, sentences
from pocketlm.recipe.demo.spoiling import RULES

T = TypeVar("T")
_OPTIONS = 4
_PAIRS_A_SENTENCE = 3
_STOP_WORDS = (
    "about after again against because been before being between both cannot could does doing "
    "down during each every from further have having here into itself just more most must never "
    "once only other over same should some such than that their them then there these they this "
    "those through under until very what when where which while whose will with within without "
    "would your also like many much several already always often"
)
_TAIL = 8
"""Words after the gap of a cloze that belong to an option."""


class Choice(NamedTuple):
    """A context, and options to go on with; `options[right]` is right. A space goes between."""

    context: str
    options: tuple[str, ...]
    right: int
    kind: str


class Pair(NamedTuple):
    """Two sentences that differ minimally: `good` is from a text, `bad` is spoilt."""

    good: str
    bad: str
    kind: str


def choices(held_back: Iterable[str], *, count: int, seed: int) -> list[Choice]:
    """At most `count` items from the texts of held-back documents, kinds in turn.

    Kinds are `term`, `flag`, `function`, `heading` and `cloze`; where some run out, others (cloze
    above all) fill up. Wrong options are right ones of other items of the kind, of like length; of
    a cloze, words of like frequency and ending.
    """
    texts, chance = list(held_back), random.Random(seed)
    kinds = {
        kind: _asked(kind, [each for text in texts for each in find(text)], chance)
        for kind, find in FINDERS.items()
    }
    kinds["cloze"] = _clozes(_unique(each for text in texts for each in sentences(text)), chance)
    return _dealt(list(kinds.values()), count)


def pairs(held_back: Iterable[str], *, count: int, seed: int) -> list[Pair]:
    """At most `count` minimal pairs from the texts of held-back documents, kinds in turn.

    Kinds are those of `spoiling.RULES`. No sentence is in more than three pairs, and no spoilt one
    is anywhere in the texts.
    """
    texts, chance = list(held_back), random.Random(seed)
    good = _unique(each for text in texts for each in sentences(text))
    chance.shuffle(good)
    everything = "\n".join(" ".join(text.split()) for text in texts)
    used: Counter[str] = Counter()

    def of(kind: str) -> Iterator[Pair]:
        for each in good:
            spoilt = [bad for bad in RULES[kind](each) if bad != each]
            if spoilt and used[each] < _PAIRS_A_SENTENCE:
                bad = chance.choice(spoilt)
                if bad not in everything:
                    used[each] += 1
                    yield Pair(each, bad, kind)

    return _dealt([of(kind) for kind in RULES], count)


def _asked(kind: str, found: Sequence[Question], chance: random.Random) -> Iterator[Choice]:
    """Questions of one kind, with right answers of others as wrong ones."""
    by_context = {each.context: each for each in sorted(found)}
    asked = list(by_context.values())
    by_length = sorted(asked, key=lambda each: (len(each.right), each.right))
    place = {id(each): number for number, each in enumerate(by_length)}
    for each in chance.sample(asked, len(asked)):
        at = place[id(each)]
        near = by_length[max(0, at - 24) : at + 25]
        wrong = {one.right: one.right for one in near if one.about != each.about and one != each}
        wrong.pop(each.right, None)
        if len(wrong) >= _OPTIONS - 1:
            others = chance.sample(sorted(wrong), _OPTIONS - 1)
            yield _choice(each.context, each.right, others, kind, chance)


def _clozes(found: Sequence[str], chance: random.Random) -> Iterator[Choice]:
    """Sentences in which one content word is to be chosen."""
    frequent = Counter(word for each in found for word in map(bare, each.split()))
    alike: dict[tuple[int, str], list[str]] = defaultdict(list)
    for word in sorted(frequent):
        if _is_content(word) and frequent[word] >= 3:
            alike[_class(word, frequent)].append(word)
    for each in chance.sample(found, len(found)):
        words = each.split()
        gaps = [
            at
            for at in range(2, len(words) - 1)
            if _is_content(words[at]) and len(alike[_class(words[at], frequent)]) > _OPTIONS
        ]
        if not gaps:
            continue
        at = chance.choice(gaps)
        wrong = [word for word in alike[_class(words[at], frequent)] if word not in words]
        vowel = words[at][0] in "aeiou"
        if words[at - 1].lower() in ("a", "an"):
            wrong = [word for word in wrong if (word[0] in "aeiou") == vowel]
        if len(wrong) >= _OPTIONS - 1:
            tail = words[at + 1 : at + 1 + _TAIL]
            others = [" ".join([word, *tail]) for word in chance.sample(wrong, _OPTIONS - 1)]
            right = " ".join([words[at], *tail])
            yield _choice(" ".join(words[:at]), right, others, "cloze", chance)


def _is_content(word: str) -> bool:
    letters = len(word) >= 4 and word.isascii() and word.islower() and word.isalpha()
    return letters and f" {word} " not in f" {_STOP_WORDS} "


def _class(word: str, frequent: Counter[str]) -> tuple[int, str]:
    """How frequent a word is (by doublings), and the ending that tells its kind."""
    ending = re.search(r"(?:ing|ed|ly|tion|able|ous|al|s)$", word)
    return frequent[word].bit_length(), ending[0] if ending else ""


def _choice(
    context: str, right: str, wrong: Sequence[str], kind: str, chance: random.Random
) -> Choice:
    options = chance.sample([right, *wrong], _OPTIONS)
    return Choice(context, tuple(options), options.index(right), kind)


def _unique(found: Iterable[str]) -> list[str]:
    """Each once, in an order that does not depend on where they are from."""
    return sorted(set(found))


def _dealt(kinds: Sequence[Iterator[T]], count: int) -> list[T]:
    """One of each kind in turn, as long as they last, until there are `count`."""
    made: list[T] = []
    left = list(kinds)
    while left and len(made) < count:
        for each in list(left):
            item = next(each, None)
            if item is None:
                left.remove(each)
            elif len(made) < count:
                made.append(item)
    return made
