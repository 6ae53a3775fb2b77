"""MT-bench: eighty questions of two turns, answered by a model, rated from 1 to 10 by a judge.

After Zheng et al. 2023. First all is answered, then all is judged; each answer and each judgement
is kept as it is made, so that a judge that is away costs nothing: the same command goes on later.
Another judge rates the same answers. Answers may also be set against those of another run, pair by
pair: judges prefer the first of two answers, so each pair is judged in both orders, and wins only
if both agree.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pocketlm.api import Model
from pocketlm.chat.prompt import Message
from pocketlm.errors import JudgeError, ParameterError
from pocketlm.evaluate import results
from pocketlm.evaluate.about import identity
from pocketlm.evaluate.mt_bench.answers import answer
from pocketlm.evaluate.mt_bench.judge import Judge
from pocketlm.evaluate.mt_bench.prompts import Answers, Prompts, rating, winner
from pocketlm.evaluate.mt_bench.prompts import read as read_prompts
from pocketlm.evaluate.mt_bench.questions import Question, chosen, digest, located
from pocketlm.evaluate.mt_bench.questions import read as read_questions
from pocketlm.evaluate.mt_bench.samples import (
    PAIRS,
    TASK,
    VERSION,
    draw,
    key,
    pair_sample,
    sample,
    totals,
)
from pocketlm.evaluate.results import Sample
from pocketlm.evaluate.several import finish
from pocketlm.ledger import Ledger
from pocketlm.progress import Progress

LEDGER, RADAR = "mt_bench.jsonl", "radar.svg"
#: Answers at once: they share the engine's steps. Judgements at once.
AT_ONCE, JUDGED_AT_ONCE = 8, 4
#: What is said to a judge that gave no rating, or no verdict.
_RATE_AGAIN = "Give the rating alone, in the form [[rating]]."
_CHOOSE_AGAIN = "Give the verdict alone: [[A]], [[B]] or [[C]]."

_Tell = Callable[[str], None]


def measure(
    model: Model,
    out: Path,
    *,
    judge: Judge,
    limit: int | None = None,
    data: Path | None = None,
    against: Path | None = None,
    tell: _Tell = lambda _: None,
) -> tuple[dict[str, Any], dict[str, list[Sample]]]:
    """Answer and judge `limit` questions (None: all). Returns results and samples.

    `data` is the folder of the questions; `against` one of results of another model, on the same
    questions. A picture by category goes to `out` as well. Raises ParameterError for what is not
    there or another run's, and JudgeError where the judge cannot be reached, or has nothing to
    say: all that was done before is kept in `out`.
    """
    questions = chosen(read_questions(data), limit)
    prompts = read_prompts(located(data))
    others = {} if against is None else _answers_of(against, questions)
    work = {
        "suite": "mt-bench",
        "version": VERSION,
        **identity(model),
        "questions": digest(read_questions(data)),
    }
    with Ledger(out / LEDGER, work) as ledger:
        _answer(model, questions, ledger, tell)
        answers = {each.number: _answers(ledger[["answer", each.number]]) for each in questions}
        stop = threading.Event()
        try:
            judge = judge.named(stop)
            _judge(_single(questions, answers, judge, prompts), judge, ledger, "ratings", tell)
            pairs = _pairs(questions, answers, others, judge, prompts) if others else []
            _judge(pairs, judge, ledger, "verdicts", tell)
        except JudgeError as error:
            raise JudgeError(
                f"{error}; {len(answers):,} answers are kept in {out}: "
                "the same command goes on when the judge is there"
            ) from None
        samples: dict[str, list[Sample]] = {
            TASK: [sample(each, ledger, judge, prompts) for each in questions]
        }
        if others:
            against_name = str(against)
            samples[PAIRS] = [
                pair_sample(each, others[each.number], ledger, judge, prompts, against_name)
                for each in questions
            ]
    draw(out / RADAR, model.checkpoint.path.name, samples[TASK])
    return totals(samples, questions, judge, prompts, against), samples


def _answers_of(folder: Path, questions: Sequence[Question]) -> dict[int, Answers]:
    """Another run's answers. Raises ParameterError where it did not answer the same questions."""
    run = results.read(folder)
    samples = {int(each["doc_id"]): each for each in run.samples.get(TASK, [])}
    made = {}
    for question in questions:
        found = samples.get(question.number, {})
        document, said = found.get("doc"), found.get("filtered_resps")
        asked = document.get("turns") if isinstance(document, dict) else None
        if asked != list(question.turns) or not isinstance(said, list) or len(said) != 2:
            raise ParameterError(
                f"{folder}: question {question.number} was not answered there, or is another one; "
                "--against wants a run of mt-bench on the same questions"
            )
        made[question.number] = (str(said[0]), str(said[1]))
    return made


def _answer(model: Model, questions: Sequence[Question], ledger: Ledger, tell: _Tell) -> None:
    missing = [each for each in questions if ["answer", each.number] not in ledger]

    def keep(question: Question, found: dict[str, Any]) -> None:
        ledger[["answer", question.number]] = found

    progress = Progress(tell, "questions", len(questions), len(questions) - len(missing))
    finish(missing, partial(answer, model), keep, at_once=AT_ONCE, progress=progress)


def _answers(kept: Mapping[str, Any]) -> Answers:
    first, second = kept["turns"]
    return first, second


#: A judgement that is wanted: its key in the ledger, the messages, and whether it is of a pair.
_Wanted = tuple[list[Any], list[Message], bool]


def _single(
    questions: Sequence[Question], answers: Mapping[int, Answers], judge: Judge, prompts: Prompts
) -> list[_Wanted]:
    return [
        (
            key(judge, prompts, question, turn),
            prompts.single(question, answers[question.number], turn),
            False,
        )
        for question in questions
        for turn in (0, 1)
    ]


def _pairs(
    questions: Sequence[Question],
    answers: Mapping[int, Answers],
    others: Mapping[int, Answers],
    judge: Judge,
    prompts: Prompts,
) -> list[_Wanted]:
    """Each pair in both orders; the order is whether ours stands first."""
    wanted = []
    for question in questions:
        ours, theirs = answers[question.number], others[question.number]
        for turn in (0, 1):
            for order, (a, b) in (("first", (ours, theirs)), ("second", (theirs, ours))):
                full = [*key(judge, prompts, question, turn), order, list(theirs)]
                wanted.append((full, prompts.pair(question, a, b, turn), True))
    return wanted


def _judge(wanted: Sequence[_Wanted], judge: Judge, ledger: Ledger, what: str, tell: _Tell) -> None:
    missing = [each for each in wanted if each[0] not in ledger]

    def work(each: _Wanted, stop: threading.Event) -> dict[str, Any]:
        _, messages, is_pair = each
        return _judged(judge, messages, is_pair, stop)

    def keep(each: _Wanted, found: dict[str, Any]) -> None:
        ledger[each[0]] = found

    progress = Progress(tell, what, len(wanted), len(wanted) - len(missing))
    finish(missing, work, keep, at_once=JUDGED_AT_ONCE, progress=progress)


def _judged(
    judge: Judge, messages: list[Message], is_pair: bool, stop: threading.Event
) -> dict[str, Any]:
    """A judgement as JSON: `text`, and the `rating` or `winner`, None where there is none.

    A judge that forgot it is reminded once.
    """
    read: Callable[[str], float | str | None] = winner if is_pair else rating
    text = judge.ask(messages, stop)
    found = read(text)
    if found is None:
        again = _CHOOSE_AGAIN if is_pair else _RATE_AGAIN
        reminded: list[Message] = [
            *messages,
            {"role": "assistant", "content": text},
            {"role": "user", "content": again},
        ]
        more = judge.ask(reminded, stop)
        text, found = f"{text}\n\n{more}", read(more)
    return {"text": text, "winner" if is_pair else "rating": found}
