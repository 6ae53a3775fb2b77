"""Failures to read one by one: what was asked, what was answered, and why it is wrong.

What a model wrote is a stranger's text: it leaves here with nothing unseen in it, and not longer
than it may be. It knows the forms in which samples hold prompts and answers; it knows no markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pocketlm.assistant.visible import shortened, visible
from pocketlm.evaluate.report.entries import Entry
from pocketlm.evaluate.report.table import name
from pocketlm.evaluate.results import Sample

#: Most characters of a prompt (its end, which is the question; few-shot examples come before), of
#: an answer and of reasons; and of all failures of a report together.
_PROMPT, _ANSWER, _WHY = 1_500, 1_500, 600
MOST = 3_000_000
#: Of an item that was answered several times, as many answers are shown.
_TURNS = 4


@dataclass(frozen=True)
class Failure:
    """One item that was not right."""

    item: str
    score: str
    prompt: str
    answer: str
    expected: str
    why: str

    @property
    def length(self) -> int:
        """How many characters it has."""
        return sum(map(len, (self.prompt, self.answer, self.expected, self.why)))


@dataclass(frozen=True)
class Failures:
    """Those of one task of one model: some of them, and how many there are of how many items."""

    label: str
    task: str
    shown: Sequence[Failure]
    count: int
    items: int

    @property
    def left_out(self) -> int:
        """How many are not shown."""
        return self.count - len(self.shown)


def failures(found: Sequence[Entry], each: int) -> list[Failures]:
    """At most `each` failures of every task, the worst first, until MOST characters are reached."""
    made = []
    room = MOST
    for entry in found:
        for task in entry.tasks.values():
            wrong = [
                (item.score, key)
                for key, item in task.items.items()
                if item.score * task.points < 50
            ]
            if not wrong:
                continue
            wrong.sort()
            samples = dict(_samples(entry, task.name))
            shown = []
            for score, key in wrong[:each]:
                failure = _failure(samples[key], key, score)
                if failure.length > room:
                    break
                room -= failure.length
                shown.append(failure)
            made.append(Failures(entry.label, name(task.name), shown, len(wrong), len(task.items)))
    return made


def _samples(entry: Entry, task: str) -> Iterator[tuple[tuple[str, int], Sample]]:
    scores = entry.tasks[task]
    for leaf in {leaf for leaf, _ in scores.items}:
        for sample in entry.run.samples[leaf]:
            if sample.get("filter", scores.filter) == scores.filter:
                yield (leaf, int(sample["doc_id"])), sample


def _failure(sample: Sample, key: tuple[str, int], score: float) -> Failure:
    target = sample.get("target")
    return Failure(
        item=f"{name(key[0])} {key[1]}",
        score=f"{score:g}",
        prompt=_end(visible(_prompt(sample)), _PROMPT),
        answer=_answer(sample),
        expected=shortened(visible(_expected(sample, target)), _WHY),
        why=shortened(visible(str(sample.get("why", ""))), _WHY),
    )


def _end(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return f"[{len(text) - most:,} characters before …] {text[-most:]}"


def _arguments(sample: Sample) -> list[list[object]]:
    """What was sent to the model, a list for each request: the prompt, and what belongs to it."""
    found = sample.get("arguments")
    requests = list(found.values()) if isinstance(found, dict) else found
    if not isinstance(requests, list):
        return []
    return [
        list(request.values()) if isinstance(request, dict) else list(request)
        for request in requests
        if isinstance(request, dict | list | tuple) and request
    ]


def _prompt(sample: Sample) -> str:
    requests = _arguments(sample)
    if requests and _likelihoods(sample.get("filtered_resps")):
        return str(requests[0][0])
    if requests:  # several turns, or one
        return "\n\n".join(dict.fromkeys(str(request[0]) for request in requests))
    document = sample.get("doc")
    if isinstance(document, dict) and "question" in document:
        return str(document["question"])
    return str(document)


def _answer(sample: Sample) -> str:
    """What was written, not too long; of choices by likelihood, the likeliest, and all values."""
    responses = sample.get("filtered_resps")
    likelihoods = _likelihoods(responses)
    if likelihoods:
        choices = [
            str(request[1]).strip() if len(request) > 1 else "?" for request in _arguments(sample)
        ]
        if len(choices) != len(likelihoods):
            choices = [str(place) for place in range(len(likelihoods))]
        best = max(range(len(likelihoods)), key=likelihoods.__getitem__)
        all_of_them = "  ".join(
            f"{choice}: {value:.2f}" for choice, value in zip(choices, likelihoods, strict=True)
        )
        said = f"{choices[best]}\n(log-likelihoods: {all_of_them})"
        return shortened(visible(said), _ANSWER)
    texts = [str(text) for text in _texts(sample.get("resps", responses))][:_TURNS]
    # Each turn gets its part: the second is not cut away by the first.
    return "\n\n".join(shortened(visible(text), _ANSWER // len(texts)) for text in texts)


def _texts(value: object) -> Iterator[object]:
    if isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
    else:
        yield value


def _likelihoods(responses: object) -> list[float]:
    """The log-likelihood of each choice, where the responses are that."""
    if not isinstance(responses, list) or len(responses) < 2:
        return []
    pairs = [
        response
        for response in responses
        if isinstance(response, list | tuple)
        and len(response) == 2
        and all(isinstance(part, int | float | bool | str) for part in response)
    ]
    if len(pairs) != len(responses):
        return []
    try:
        return [float(pair[0]) for pair in pairs]
    except ValueError:
        return []


def _expected(sample: Sample, target: object) -> str:
    """The right answer: a choice by its place is said with its words."""
    document = sample.get("doc")
    requests = _arguments(sample)
    if isinstance(target, int) and 0 <= target < len(requests) and len(requests[target]) > 1:
        words = str(requests[target][1]).strip()
        choices = document.get("choices") if isinstance(document, dict) else None
        if isinstance(choices, list) and target < len(choices) and str(choices[target]) != words:
            return f"{words}: {choices[target]}"
        return words
    return "" if target is None else str(target)
