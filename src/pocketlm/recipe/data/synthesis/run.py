"""A plan carried out: requests side by side, answers kept as they come, documents written.

The folder that it makes:

    answers/KIND.jsonl       every answer, as it came: what a run that was stopped goes on from
    documents/KIND.jsonl     what is fit: `text`, `id`, and the seed
    conversations.jsonl      dialogues as `messages`
    dropped.jsonl            what is not fit, and why
    synthesis.json           counts, tokens, cost

It knows plans and folders; what is fit, `series` knows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pocketlm.errors import ParameterError
from pocketlm.formats.output import new_file, new_folder, writing
from pocketlm.progress import lasts
from pocketlm.recipe.data.classifier import read_classifier
from pocketlm.recipe.data.endpoint import Asked, Endpoint, EndpointError
from pocketlm.recipe.data.synthesis.counts import COUNTS, Counts, Spent, counted
from pocketlm.recipe.data.synthesis.plan import Plan
from pocketlm.recipe.data.synthesis.series import ANSWERS, Series
from pocketlm.recipe.train.interruption import Interruption

DOCUMENTS, CONVERSATIONS, DROPPED = "documents", "conversations.jsonl", "dropped.jsonl"
REFUSALS = 5
"""Refused requests, one after another and no answer between, that end a run."""

Tell = Callable[[str], None]
Key = tuple[int, int]


def series_of(plan: Plan) -> list[Series]:
    """The kinds of a plan. Raises ParameterError for a prompt or classifier that is unsound."""
    classifier = read_classifier(plan.quality.classifier) if plan.quality else None
    return [Series(plan, wanted, classifier) for wanted in plan.kinds]


def synthesise(plan: Plan, out: Path, endpoint: Endpoint, parallel: int, tell: Tell) -> Counts:
    """Have an endpoint write what a plan wants into the folder `out`, or go on with it.

    Raises EndpointError where the endpoint goes away: what was answered is kept, and written.
    Raises ParameterError for a folder of another plan. Kinds of which too little is fit are given
    up: the counts say so.
    """
    every = series_of(plan)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0), ExitStack() as stack:
            _refuse_others(out)
            for series in every:
                stack.enter_context(series.open(out, endpoint.model))
            spent = Spent(plan.endpoint.price)
            for series in every:
                for answer in series.answers():
                    spent.add(answer.prompt_tokens, answer.completion_tokens)
            try:
                _ask(plan, every, endpoint, parallel, spent, tell)
            finally:
                counts = counted(plan, endpoint.model, every, spent)
                _write(out, every, counts)
    except Timeout:
        raise ParameterError(f"{out}: is being written by another process") from None
    return counts


def _refuse_others(out: Path) -> None:
    """Raise for a folder with things in it that are not of a run like this."""
    held = {each.name for each in out.iterdir() if each.name != ".lock"}
    if held and ANSWERS not in held:
        raise ParameterError(
            f"{out}: is not empty, and not of `pocketlm data synthesize`; "
            "name another folder by --out"
        )


def _ask(
    plan: Plan,
    every: Sequence[Series],
    endpoint: Endpoint,
    parallel: int,
    spent: Spent,
    tell: Tell,
) -> None:
    display = _Display(plan, every, spent, tell)
    refused = 0
    with Interruption() as interruption:
        # What turns out unfit is asked for anew, until enough is fit.
        while any(not series.is_over for series in every):
            wanted = _next(every, interruption)
            for (place, number), answer in endpoint.ask_all(wanted, parallel, tolerant=True):
                every[place].keep(number, answer)
                spent.add(answer.prompt_tokens, answer.completion_tokens)
                display.advance()
                refused = refused + 1 if answer.refused else 0
                if refused == REFUSALS:
                    raise EndpointError(f"{refused} requests one after another: {answer.refused}")
                if plan.tokens is not None and answer.text and not answer.completion_tokens:
                    raise EndpointError(
                        "the endpoint counts no tokens: let the plan say `documents`, not `tokens`"
                    )
            if interruption.wanted:
                raise KeyboardInterrupt


def _next(every: Sequence[Series], interruption: Interruption) -> Iterator[tuple[Key, Asked]]:
    """Requests, each of the kind that is furthest behind, while more are needed than are asked.

    None after an interruption: answers that are on their way are paid for, and waited for.
    """
    while not interruption.wanted:
        open_ones = [
            (series.expected, place)
            for place, series in enumerate(every)
            if not series.is_over and series.expected < 1
        ]
        if not open_ones:
            return
        _, place = min(open_ones)
        if (asked := every[place].ask()) is not None:
            number, request = asked
            yield (place, number), request


class _Display:
    """How far it is, what it cost, and how long the rest will take."""

    def __init__(self, plan: Plan, every: Sequence[Series], spent: Spent, tell: Tell) -> None:
        self._every, self._spent, self._tell = every, spent, tell
        self._what = "documents" if plan.tokens is None else "tokens"
        self._wanted = sum(series.wanted for series in every)
        self._answers, self._began = 0, time.monotonic()
        if done := self._done:
            tell(f"{done:,} of {self._wanted:,} {self._what} are there already")

    @property
    def _done(self) -> int:
        return sum(series.done for series in self._every)

    def advance(self) -> None:
        """One more answer has come."""
        self._answers += 1
        took = time.monotonic() - self._began
        done = f"{self._done:,} of {self._wanted:,} {self._what}"
        left = [series.left for series in self._every]
        if took > 1 and None not in left:
            answers = sum(each for each in left if each is not None)
            done += f", {lasts(took / self._answers * answers)} left"
        dropped = f"{sum(len(series.dropped) for series in self._every):,} dropped"
        if waiting := sum(series.waiting for series in self._every):
            dropped += f", {waiting:,} to be judged"
        self._tell(f"{done}; {self._spent}; {dropped}")


def _write(out: Path, every: Sequence[Series], counts: Counts) -> None:
    """Documents, conversations, what was dropped, and the counts, which come last."""
    with new_folder(out / DOCUMENTS) as folder:
        for series in every:
            _lines(folder / f"{series.name}.jsonl", _documents(series, counts.model))
    conversations = (
        {"id": document.id, "messages": document.messages}
        for series in every
        for document in series.documents
        if document.messages
    )
    _lines(out / CONVERSATIONS, conversations)
    _lines(out / DROPPED, (line for series in every for line in _dropped(series)))
    with new_file(out / COUNTS) as file:
        file.write(counts.model_dump_json(indent=1).encode() + b"\n")


def _documents(series: Series, model: str) -> Iterator[dict[str, Any]]:
    for document in series.documents:
        found = {
            "text": document.text,
            "id": document.id,
            "kind": series.name,
            "topic": document.seed.topic,
            "audience": document.seed.audience,
            "style": document.seed.style,
            "model": model,
            "prompt": series.kind.version,
            "tokens": document.tokens,
        }
        yield found if document.quality is None else {**found, "quality": document.quality}


def _dropped(series: Series) -> Iterator[dict[str, Any]]:
    # The words are no `text`: a build that is given the whole folder leaves them out.
    for dropped in series.dropped:
        yield {
            "id": dropped.id,
            "reason": dropped.reason,
            "detail": dropped.detail,
            "topic": dropped.seed.topic,
            "audience": dropped.seed.audience,
            "style": dropped.seed.style,
            "answer": dropped.answer,
        }


def _lines(path: Path, values: Iterable[dict[str, Any]]) -> None:
    with new_file(path) as file:
        for value in values:
            # Half a pair of surrogates, which an answer may hold and UTF-8 may not, is replaced.
            text = json.dumps(value, ensure_ascii=False)
            file.write(text.encode("utf-8", "replace") + b"\n")
