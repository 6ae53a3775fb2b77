"""Probe 9: sentences that end with a given word.

Word, number and wording are drawn. Each sentence is judged by itself, and what is said around them
is none of them.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pocketlm.assistant.tools.skill import Skill
from pocketlm.chat.tools import Call, Tool
from pocketlm.errors import ParameterError
from pocketlm.evaluate.probes.probe import Constrained, Probe, Variant, Verdict

_NAMED = (
    "apple", "river", "window", "garden", "candle", "bridge", "mirror", "pencil", "bottle",
    "island", "forest", "blanket", "hammer", "kitchen", "lantern", "mountain", "orange",
    "piano", "rabbit", "saddle", "teapot", "umbrella", "village", "whistle", "basket",
    "castle", "feather", "guitar", "helmet", "ladder",
)  # fmt: skip
_COUNTS = {5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten"}
_ASKED = (
    'Write {count} sentences that end with the word "{word}".',
    'Give me {count} different sentences. Each one must end with "{word}".',
    'Please make {count} sentences whose last word is "{word}".',
    "I want {count} English sentences, all of them with {word} as the last word.",
)
#: A line of a list, and the mark in front of it.
_ITEM = re.compile(r"^\s*(?:\(?\d{1,3}[.):]|[-*•+])\s+(?=\S)")
#: What is said around the sentences.
_CHATTER = re.compile(
    r"^(?:sure|certainly|of course|here (?:are|is|you)|okay|ok\b|absolutely|great|yes[,!]"
    r"|i hope|let me know|feel free|these are|each (?:of these )?sentence|note\b|.*\bsentences\b)",
    re.IGNORECASE,
)
#: A block of code, and the marks round one of text.
_CODE = re.compile(
    r"^```[ \t]*(?!text|txt|markdown|md\b)\w+.*?(?:^```|\Z)", re.DOTALL | re.MULTILINE
)
_FENCE = re.compile(r"^```.*$", re.MULTILINE)
_END = re.compile(r"(?<=[.!?])[\"'”’*)]*\s+(?=[\"'“‘*(]*[A-Z0-9])")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_FEWEST_WORDS = 4
_MOST_TEXT, _MOST_SENTENCES = 20_000, 100


class Apple(Probe):
    """Sentences that end with a word."""

    name = "apple"
    number = 9
    about = 'Sentences that end with a given word, as "apple".'
    seen = "failed at the third of ten"
    most_tokens = 300

    def draw(self, chance: random.Random, number: int) -> Variant:
        """Draw the word and how many sentences there are to be."""
        word = chance.choice(_NAMED)
        count = chance.choice(list(_COUNTS))
        said = chance.choice((str(count), _COUNTS[count]))
        question = chance.choice(_ASKED).format(count=said, word=word)
        return Variant(
            number,
            [{"role": "user", "content": question}],
            {"word": word, "count": count},
            f'{count} different sentences, each with "{word}" at its end',
            Constrained("regex", _form(word, count), ask="Number them, one on each line."),
        )

    def judge(self, variant: Variant, answer: str) -> Verdict:
        """The share of sentences that are good; more or fewer than asked for cost as well."""
        word, count = str(variant.facts["word"]), int(variant.facts["count"])
        found = sentences(answer)
        credits, faults = [], []
        for number, sentence in enumerate(found):
            credit, fault = _credit(sentence, word, found[:number])
            credits.append(credit)
            if fault is not None:
                faults.append(f"the {_nth(number + 1)} {fault}")
        words = f"{credits.count(1)} of {len(found)} sentences are good, {count} were asked for"
        score = min(sum(credits), count) / max(len(found), count)
        return Verdict(score, "; ".join([words, *faults[:3]]))

    def skills(self, variant: Variant) -> Sequence[Skill]:
        """A tool that takes the sentences if they are as asked; else it says which are not."""
        word, count = str(variant.facts["word"]), int(variant.facts["count"])
        each = {"type": "string", "maxLength": 120}
        properties = {"sentences": {"type": "array", "items": each, "maxItems": count}}
        tool = Tool(
            "give_sentences",
            "Gives sentences to the person, if their last words are right; tells which are not.",
            {"properties": properties, "required": ["sentences"]},
        )

        def run(arguments: Mapping[str, Any]) -> str:
            wrong = [s for s in arguments["sentences"] if _last(s) != word]
            if wrong:
                raise ParameterError(f"not given; these do not end with {word!r}: {wrong}")
            return "given"

        return [Skill(tool, run)]

    def answer(self, variant: Variant, said: str, calls: Sequence[Call]) -> str:
        """The sentences that were given last; else what was said."""
        for call in reversed(calls):
            given = json.loads(call.arguments).get("sentences", [])
            if given and all(_last(s) == variant.facts["word"] for s in given):
                return "\n".join(f"{number}. {s}" for number, s in enumerate(given, 1))
        return said


def _form(word: str, count: int) -> str:
    """A regular expression: so many numbered lines of words, the last one as asked for."""
    words = r"[A-Z][a-z]{0,12}(?:,? [a-z]{1,12}){2,11}"
    return "\n".join(rf"{number}\. {words} {word}\." for number in range(1, count + 1))


def sentences(text: str) -> list[str]:
    """The sentences that an answer gives: items of a list, or what stands by itself."""
    text = _FENCE.sub("", _CODE.sub("", text[:_MOST_TEXT]))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    items = [_ITEM.sub("", line) for line in lines if _ITEM.match(line)]
    if len(items) > 1:
        return items[:_MOST_SENTENCES]
    found = [sentence for line in lines for sentence in _END.split(_ITEM.sub("", line))]
    said = [each for each in found if not each.rstrip("*").endswith(":") and _WORD.search(each)]
    while said and _CHATTER.match(said[0]):
        said.pop(0)
    while said and _CHATTER.match(said[-1]):
        said.pop()
    return said[:_MOST_SENTENCES]


def _credit(sentence: str, word: str, earlier: Sequence[str]) -> tuple[float, str | None]:
    """What a sentence counts, and what is wrong with it."""
    words = _words(sentence)
    if not words or words[-1] != word:
        return 0, f'ends with "{words[-1] if words else ""}"'[:60]
    if len(set(words)) < _FEWEST_WORDS:
        return 0, "is no sentence"
    before = [_words(each) for each in earlier]
    if words in before:
        return 0, "was there before"
    # "I see an apple. He sees an apple." are two sentences, "The first is …, the second is …" one.
    if any(_differ(words, each) < 2 for each in before):
        return 0.5, "has but one other word than one before"
    return 1, None


def _differ(words: Sequence[str], others: Sequence[str]) -> int:
    """How many words of two sentences stand against each other; all, if their lengths differ."""
    if len(words) != len(others):
        return max(len(words), len(others))
    return sum(a != b for a, b in zip(words, others, strict=True))


def _words(sentence: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(sentence)]


def _last(sentence: str) -> str:
    return (_words(sentence) or [""])[-1]


def _nth(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")


PROBE = Apple()
