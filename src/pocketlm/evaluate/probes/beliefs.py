"""Where does she think the ball is, which was moved while she was away?

Stories of people who leave, return, watch in secret and are told, with a small world that knows
what each of them believes, and what each believes of the others. The right answer is now where the
ball was, now where it is. It knows stories and beliefs; what an answer says of them,
`attributions.py` knows.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from pocketlm.evaluate.probes import attributions, statements
from pocketlm.evaluate.probes.probe import Probe, Variant, Verdict
from pocketlm.evaluate.probes.wording import (
    MOST_TOKENS,
    ending,
    listed,
    people,
    question_of,
    reasoned,
)

_THINGS = ("ball", "key", "toy car", "chocolate bar", "doll", "whistle", "torch", "purse")
_HOLDERS = (
    "box", "basket", "drawer", "bag", "bucket", "chest", "cupboard", "suitcase", "backpack", "tin",
)  # fmt: skip

#: What happens: a verb of `World`, who does it, and where, or to whom and what.
Event = tuple[str, str, str, str]


@dataclass
class World:
    """Where the thing is, who is there, what each believes, and believes that others believe."""

    people: list[str]
    at: str = ""
    began: str = ""
    there: set[str] = field(default_factory=set)
    spies: set[str] = field(default_factory=set)
    believes: dict[str, str] = field(default_factory=dict)
    of: dict[tuple[str, str], str] = field(default_factory=dict)

    def do(self, event: Event) -> None:
        """Let something happen, and let those who see it know."""
        verb, who, holder, to = event
        match verb:
            case "put" | "move":
                self.at = holder
                self.began = self.began or holder
                self._see(holder)
            case "come" | "return":
                self.there.add(who)
                self.spies.discard(who)
            case "leave":
                self.there.discard(who)
            case "spy":
                self.there.discard(who)
                self.spies.add(who)
            case "tell" | "lie":
                if verb == "tell":
                    self.believes[who] = holder
                self.believes[to] = holder
                self.of[to, who] = self.of[who, to] = holder

    def _see(self, holder: str) -> None:
        """All who are there see it, and each other see it; a spy sees all, and is not seen."""
        for one in self.there | self.spies:
            self.believes[one] = holder
            for other in self.there - {one}:
                self.of[one, other] = holder


@dataclass(frozen=True)
class _Cast:
    """Who and what a story is about."""

    a: str
    b: str
    c: str
    first: str
    second: str
    third: str


_Plot = Callable[[_Cast], list[Event]]


def _begins(s: _Cast, *rest: Event) -> list[Event]:
    come: list[Event] = [("come", who, "", "") for who in (s.a, s.b, s.c)]
    return [*come, ("put", s.a, s.first, ""), *rest]


_PLOTS: dict[str, _Plot] = {
    "away": lambda s: _begins(
        s, ("leave", s.a, "", ""), ("move", s.b, s.second, ""), ("return", s.a, "", "")
    ),
    "seen": lambda s: _begins(
        s, ("move", s.b, s.second, ""), ("leave", s.a, "", ""), ("return", s.a, "", "")
    ),
    "spied": lambda s: _begins(
        s, ("spy", s.a, "", ""), ("move", s.b, s.second, ""), ("return", s.a, "", "")
    ),
    "told": lambda s: _begins(
        s, ("leave", s.a, "", ""), ("move", s.b, s.second, ""), ("tell", s.c, s.second, s.a),
        ("return", s.a, "", ""),
    ),
    "deceived": lambda s: _begins(
        s, ("leave", s.a, "", ""), ("move", s.b, s.second, ""), ("lie", s.b, s.third, s.a),
        ("return", s.a, "", ""),
    ),
    "twice": lambda s: _begins(
        s, ("move", s.b, s.second, ""), ("leave", s.a, "", ""), ("move", s.b, s.third, ""),
        ("return", s.a, "", ""),
    ),
    "in turn": lambda s: _begins(
        s, ("leave", s.a, "", ""), ("move", s.b, s.second, ""), ("leave", s.b, "", ""),
        ("move", s.c, s.third, ""), ("return", s.a, "", ""), ("return", s.b, "", ""),
    ),
    "back": lambda s: _begins(
        s, ("leave", s.a, "", ""), ("move", s.b, s.second, ""), ("leave", s.b, "", ""),
        ("move", s.c, s.first, ""), ("return", s.b, "", ""), ("return", s.a, "", ""),
    ),
    "spied in turn": lambda s: _begins(
        s, ("spy", s.a, "", ""), ("move", s.b, s.second, ""), ("return", s.a, "", ""),
        ("leave", s.b, "", ""), ("move", s.c, s.third, ""), ("return", s.b, "", ""),
    ),
}  # fmt: skip
#: The right answers take turns, so that neither where it was nor where it is will do.
_TURNS = ("began", "is", "began", "is", "between")
#: What is asked: who believes it, of whom, and how often.
_ASKED = (*["belief"] * 5, *["of another"] * 4, "reality", "memory")


@dataclass(frozen=True)
class _Question:
    """What is asked: `chain` is who believes it, of whom; nobody, for how it is."""

    kind: str
    chain: tuple[str, ...]
    asked: str
    right: str


class _Beliefs(Probe):
    name = "beliefs"
    number = 8
    about = "Two people, a ball moved while one is away: where does each believe it is?"
    seen = "right"
    most_tokens = MOST_TOKENS

    def draw(self, chance: random.Random, number: int) -> Variant:
        """Draw a plot and a question whose answer is the place that is wanted now."""
        wanted = _TURNS[number % len(_TURNS)]
        while True:
            cast = _Cast(*people(chance, 3), *chance.sample(_HOLDERS, 3))
            thing = chance.choice(_THINGS)
            plot = chance.choice(sorted(_PLOTS))
            events = _PLOTS[plot](cast)
            world = World([cast.a, cast.b, cast.c])
            for event in events:
                world.do(event)
            question = _question(chance, cast, thing, world)
            if _kind(question.right, world) == wanted:
                break
        holders = chance.sample((cast.first, cast.second, cast.third), 3)
        story = " ".join(_told(chance, cast, thing, holders, events))
        offered = [f"in the {holder}" for holder in holders]
        facts = {
            "plot": plot,
            "asked": question.kind,
            "chain": list(question.chain),
            "people": world.people,
            "thing": thing,
            "places": holders,
            "right": question.right,
            "began": world.began,
            "is": world.at,
            "events": [list(event) for event in events],
        }
        return Variant(
            number,
            [{"role": "user", "content": f"{story} {question.asked} {ending(chance)}"}],
            facts,
            f"in the {question.right}",
            reasoned({"enum": offered}, "The answer is one of: " + "; ".join(offered) + "."),
        )

    def judge(self, variant: Variant, answer: str) -> Verdict:
        """Judge the place that the answer names at last for what was asked."""
        facts = variant.facts
        right, chain = facts["right"], facts["chain"]
        of = attributions.Asked(
            facts["thing"], facts["places"], facts["people"], chain, facts["asked"] == "memory"
        )
        said = attributions.said(statements.own(answer, question_of(variant)), of)
        if said.fault:
            return Verdict(0.0, said.fault)
        if said.place == right:
            return Verdict(1.0, f"right: in the {right}")
        wrong = f"says the {said.place}, it is the {right}"
        if chain and said.place == facts["is"]:
            return Verdict(0.0, f"{wrong}: where it is, not what {chain[0]} believes")
        if said.place == facts["began"]:
            return Verdict(0.0, f"{wrong}: where it was at first")
        return Verdict(0.0, wrong)


def _kind(right: str, world: World) -> str:
    if right == world.at:
        return "is"
    return "began" if right == world.began else "between"


def _question(chance: random.Random, cast: _Cast, thing: str, world: World) -> _Question:
    kind = chance.choice(_ASKED)
    one, other = chance.sample((cast.a, cast.b, cast.c), 2)
    # What the one who was away believes is what such stories are about.
    if chance.random() < 0.5:
        one = cast.a
        other = chance.choice((cast.b, cast.c))
    match kind:
        case "belief":
            asked = chance.choice(
                (
                    f"Where will {one} look for the {thing} first?",
                    f"Where does {one} think that the {thing} is?",
                    f"In which place does {one} believe the {thing} to be?",
                )
            )
            return _Question(kind, (one,), asked, world.believes[one])
        case "of another":
            asked = chance.choice(
                (
                    f"Where does {other} think that {one} will look for the {thing} first?",
                    f"Where, as {other} believes, does {one} think the {thing} is?",
                )
            )
            return _Question(kind, (other, one), asked, world.of[other, one])
        case "reality":
            asked = chance.choice((f"Where is the {thing} really?", f"Where is the {thing} now?"))
            return _Question(kind, (), asked, world.at)
    return _Question(kind, (), f"Where was the {thing} at the very beginning?", world.began)


def _told(
    chance: random.Random, cast: _Cast, thing: str, holders: list[str], events: list[Event]
) -> list[str]:
    """The story, a sentence for each event."""
    room = chance.choice(("the kitchen", "the living room", "a classroom", "an office"))
    told = [
        f"{listed([cast.a, cast.b, cast.c])} are in {room}, where there are "
        f"{listed([f'a closed {holder}' for holder in holders])}."
    ]
    for verb, who, holder, to in events:
        match verb:
            case "put":
                told.append(f"{who} puts a {thing} into the {holder}, and all of them see it.")
            case "move":
                how = chance.choice(("takes the {} out and puts it into", "moves the {} to"))
                told.append(f"{who} {how.format(thing)} the {holder}.")
            case "leave":
                away = chance.choice(("goes out", "leaves to make a call", "goes for a walk"))
                told.append(f"{who} {away} and sees nothing of what happens now.")
            case "spy":
                told.append(
                    f"{who} goes out, but watches all that happens through the keyhole; nobody "
                    "notices."
                )
            case "tell":
                told.append(
                    f"{who} secretly writes to {to} where the {thing} is now: in the {holder}."
                )
            case "lie":
                told.append(
                    f"{who} secretly writes to {to} that the {thing} is in the {holder} now, and "
                    f"{to} believes it."
                )
            case "return":
                told.append(f"{who} comes back; nobody speaks about the {thing}.")
    return told


PROBE = _Beliefs()
