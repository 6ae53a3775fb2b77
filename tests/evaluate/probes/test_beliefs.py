"""Who believes what: by what each has witnessed, and by many ways of saying so."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluate.probes.heuristics import constant, question, rate

from pocketlm.engine.constraint import from_schema
from pocketlm.evaluate.probes.attributions import Asked, said
from pocketlm.evaluate.probes.beliefs import PROBE

VARIANTS = PROBE.variants(5, 200)


def witnessed(events):
    """Of each event: where the thing is said or seen to be, who learns it, and who knows of whom.

    A log, from which beliefs are the last entries; the module's own world updates tables.
    """
    there, spies, log = set(), set(), []
    for verb, who, holder, to in events:
        if verb in ("come", "return"):
            there.add(who)
            spies.discard(who)
        elif verb in ("leave", "spy"):
            there.discard(who)
            if verb == "spy":
                spies.add(who)
        elif verb in ("put", "move"):
            learn = {p: set(there) for p in there | spies}
            log.append((holder, learn))
        else:
            learn = {to: {who, to}, who: {to} | ({who} if verb == "tell" else set())}
            log.append((holder, learn))
    return log


def believed(log, chain):
    first, *rest = chain
    for holder, learn in reversed(log):
        if first in learn and all(p in learn[first] or p == first for p in rest):
            if not rest and first not in learn[first] and len(learn[first]) == 1:
                continue  # who deceives is not deceived
            return holder
    raise AssertionError


def test_right_answers_are_what_was_witnessed():
    for variant in VARIANTS:
        facts = variant.facts
        log = witnessed(facts["events"])
        moves = [holder for verb, _, holder, _ in facts["events"] if verb in ("put", "move")]
        match facts["asked"]:
            case "reality":
                right = moves[-1]
            case "memory":
                right = moves[0]
            case _:
                right = believed(log, facts["chain"])
        assert right == facts["right"], question(variant)


def test_variants_differ_and_kinds_are_mixed():
    assert len({question(v) for v in VARIANTS}) == len(VARIANTS)
    json.dumps([v.facts for v in VARIANTS])
    for asked in ("belief", "of another"):
        of_kind = [v.facts for v in VARIANTS if v.facts["asked"] == asked]
        assert len(of_kind) > 40
        real = sum(f["right"] == f["is"] for f in of_kind) / len(of_kind)
        assert 0.15 < real < 0.7
    assert {v.facts["plot"] for v in VARIANTS} > {"away", "seen", "spied", "told", "deceived"}
    for variant in VARIANTS:
        from_schema(variant.constrained.value)


def test_right_answers_pass_and_wrong_ones_fail():
    for variant in VARIANTS:
        facts = variant.facts
        thing, chain = facts["thing"], facts["chain"]
        who = {
            0: f"The {thing} {'was' if facts['asked'] == 'memory' else 'is'}",
            1: f"{chain[0] if chain else ''} will look",
            2: f"{chain[0] if chain else ''} thinks that {chain[-1] if chain else ''} will look",
        }[len(chain)]
        right = f"in the {facts['right']}"
        for answer in (
            variant.target,
            f"{who} {right}.",
            f"Much happened. So {who} {right}.",
            f"The answer is: {right}.",
            f"**Answer:** the {facts['right']}",
            f"{who} {right}, because of all that happened.",
        ):
            verdict = PROBE.judge(variant, answer)
            assert verdict.passed, (answer, verdict.why, chain)
        for place in facts["places"]:
            wrong = f"in the {place}"
            if wrong == right:
                continue
            for answer in (
                wrong,
                f"{who} {wrong}.",
                f"{who} {right} or {wrong}.",
                f"Either {right} or {wrong}.",
                f"{who} {right}. No, {who} {wrong}.",
                f"{who} not {right} but {wrong}.",
            ):
                verdict = PROBE.judge(variant, answer)
                assert verdict.score == 0, (answer, verdict.why)


def test_no_simple_way_passes():
    def told(pick):
        def answer(variant):
            story = question(variant).split(".", 1)[1]
            found = re.findall("|".join(variant.facts["places"]), story)
            return f"in the {pick(found)}"

        return answer

    def belief_is_before(variant):
        return f"in the {variant.facts['began' if variant.facts['chain'] else 'is']}"

    assert constant(PROBE) < 0.3
    assert rate(PROBE, question) == 0
    assert rate(PROBE, told(lambda found: found[0])) < 0.6
    assert rate(PROBE, told(lambda found: found[-1])) < 0.6
    assert rate(PROBE, lambda v: f"in the {v.facts['is']}") < 0.6
    assert rate(PROBE, belief_is_before) < 0.6


PLACES, PEOPLE = ["box", "basket", "drawer"], ["Anna", "Ben", "Clara"]


def place_of(answer, chain, began=False):
    found = said(answer, Asked("ball", PLACES, PEOPLE, chain, began))
    assert bool(found.place) != bool(found.fault)
    return found.place


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ("In the box.", "box"),
        ("the box", "box"),
        ("Anna will look in the box.", "box"),
        ("She'll look in the box, since that is where she left it.", "box"),
        ("Ben moved the ball to the basket unseen, so Anna will look in the box.", "box"),
        ("Anna will look in the box because she does not know that Ben put it into the basket.",
         "box"),
        ("The ball is in the basket, but Anna thinks it is in the box.", "box"),
        ("Anna believes it to be in the box. In truth it is in the basket.", "box"),
        ("Anna will look in the box, not in the basket.", "box"),
        ("Anna will not look in the basket but in the box.", "box"),
        ("Since Anna saw Ben move the ball to the basket, she will look in the basket.", "basket"),
        ("Anna thinks it is in the basket. Wait: Anna thinks it is in the box.", "box"),
        ("Ben thinks that it is in the basket, and Anna thinks that it is in the box.", "box"),
        ("Anna thinks it is in the drawer. So the answer is the box.", "box"),
        ("From Anna's perspective, the ball is in the box.", "box"),
        ("Ben thinks that Anna will look in the box.", ""),
        ("Ben thinks that the ball is in the basket.", ""),
        ("Anna puts the ball into the box. Ben moves it to the basket.", ""),
        ("Anna will look in the box or in the basket.", ""),
        ("Either the box or the basket.", ""),
        ("- the ball\n- the box\n- the ball\n- the box", ""),
        ("The open chest is in the box. The basket is in the drawer.", ""),
        ("Nobody knows.", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_what_is_said_of_a_belief(answer, place):
    assert place_of(answer, ["Anna"]) == place


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ("Ben thinks that Anna will look in the box.", "box"),
        ("Ben believes that Anna thinks the ball is in the box.", "box"),
        ("Ben knows that the ball is in the basket. He thinks Anna will look in the box.", "box"),
        ("Anna will look in the basket. But Ben thinks that Anna will look in the box.", "box"),
        ("Ben thinks Anna will look in the box. Anna will look in the basket.", "box"),
        ("Anna will look in the box.", "box"),
        ("In the box.", "box"),
        ("Ben thinks that the ball is in the basket.", ""),
        ("Clara thinks that Anna will look in the box.", ""),
    ],
)  # fmt: skip
def test_what_is_said_of_a_belief_of_a_belief(answer, place):
    assert place_of(answer, ["Ben", "Anna"]) == place


@pytest.mark.parametrize(
    ("answer", "now", "first"),
    [
        ("The ball is in the basket.", "basket", "basket"),
        ("Ben moved it, so the ball is now in the basket.", "basket", None),
        ("Anna thinks it is in the box, but it is really in the basket.", "basket", None),
        ("Anna will look in the box.", "", ""),
        ("At the beginning, the ball was in the box.", None, "box"),
        (
            "At the beginning Anna put the ball into the box. Ben moved it to the basket.",
            None,
            "box",
        ),
        ("Anna puts the ball into the box. Ben moves the ball to the basket.", "", None),
    ],
)
def test_what_is_said_of_facts(answer, now, first):
    if now is not None:
        assert place_of(answer, []) == now
    if first is not None:
        assert place_of(answer, [], began=True) == first


WORDS = st.sampled_from(
    [
        "Anna",
        "Ben",
        "she",
        "thinks",
        "will",
        "look",
        "that",
        "the",
        "ball",
        "it",
        "is",
        "in",
        "box",
        "basket",
        "or",
        "not",
        ",",
        ".",
        "because",
        "moved",
        "and",
        "answer:",
        "so",
        "but",
    ]
)


@given(st.text() | st.lists(WORDS, max_size=30).map(" ".join))
def test_any_text_is_read(text):
    for chain in ([], ["Anna"], ["Ben", "Anna"]):
        place_of(text, chain)
    for variant in VARIANTS[:4]:
        assert 0 <= PROBE.judge(variant, text).score <= 1
