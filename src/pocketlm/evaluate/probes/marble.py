"""Where is the marble, when the cup that it was in was turned over and carried off?

Stories of a thing, a container and what is done to it, told by a small world in which things fall
as they do. In half of them the thing travels along: it is held by a lid, a card, glue or a tray,
or the container was turned only later. It knows stories and where they end; where an answer says
that the thing is, `places.py` knows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pocketlm.evaluate.probes import places, statements
from pocketlm.evaluate.probes.probe import Probe, Variant, Verdict
from pocketlm.evaluate.probes.wording import (
    MOST_TOKENS,
    WOMEN,
    ending,
    people,
    question_of,
    reasoned,
)

#: What a right place is worth where the answer also says something wrong of the container, and
#: what "in the cup" is worth where that is so, but not where the cup is.
WRONG_INSIDE, INSIDE_ALONE = 0.5, 0.5
#: What "on the microwave" is worth for what is in it.
BESIDE = 0.5

#: Places by name: with the preposition, and other names.
_TOPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "table": ("on", ("tabletop", "dining table", "kitchen table")),
    "kitchen counter": ("on", ("counter", "countertop", "counter top", "kitchen countertop")),
    "window sill": ("on", ("windowsill", "sill")),
    "desk": ("on", ("desktop",)),
    "chair": ("on", ()),
    "bench": ("on", ()),
    "piano": ("on", ()),
}
_INSIDES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "microwave": ("in", ("microwave oven",)),
    "fridge": ("in", ("refrigerator",)),
    "cupboard": ("in", ("cabinet",)),
    "freezer": ("in", ()),
    "dishwasher": ("in", ()),
    "wardrobe": ("in", ("closet",)),
}
_BELOW: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "sink": ("in", ("kitchen sink", "basin")),
    "carpet": ("on", ("rug",)),
    "sofa": ("on", ("couch",)),
    "bathtub": ("in", ("tub", "bath")),
}
_ALL = {**_TOPS, **_INSIDES, **_BELOW}
_THINGS = ("marble", "coin", "die", "bead", "pebble", "button", "walnut", "ring", "hazelnut")
_CONTAINERS = ("cup", "glass", "mug", "bowl", "jar", "tin", "beaker", "vase")

#: What is done, in order: a verb of `World`, and what it is done with or where.
Act = tuple[str, str]


@dataclass
class World:
    """A thing and a container, and where they are.

    `inside` is whether the container holds the thing, `under` whether that lies under its mouth.
    """

    at: str
    thing_at: str = ""
    upright: bool = True
    covered: bool = False
    leaky: bool = False
    stuck: bool = False
    inside: bool = False
    under: bool = False
    on_top: bool = False

    def do(self, act: Act) -> None:
        """Do one thing, and let fall what falls."""
        verb, with_what = act
        match verb:
            case "put in":
                self.inside, self.thing_at = True, self.at
            case "put beside":
                self.thing_at = self.at
            case "put on top":
                self.on_top, self.thing_at = True, self.at
            case "glue":
                self.stuck = True
            case "hole":
                self.leaky = True
            case "cover" | "slip under":
                self.covered = True
                if verb == "slip under" and self.under:
                    self.inside, self.under = True, False
            case "uncover":
                self.covered = False
            case "turn":
                self._turn()
            case "turn above":
                self.under = False
                if self._loose:
                    self.inside, self.thing_at = False, with_what
            case "carry":
                self._carry(with_what)
            case "carry tray":
                self.at = self.thing_at = with_what
            case "take away":
                self.under, self.at = False, with_what

    @property
    def _loose(self) -> bool:
        return self.inside and not self.covered and not self.stuck

    def _turn(self) -> None:
        self.upright = not self.upright
        self.on_top = False
        if not self.upright and self._loose:
            self.inside, self.under = False, True
        elif self.upright:
            self.under = False

    def _carry(self, to: str) -> None:
        if self.inside and self.leaky and not self.stuck:
            self.inside = False
        self.under = False
        self.at = to
        if self.inside or self.on_top:
            self.thing_at = to


@dataclass(frozen=True)
class _Scene:
    """Who, what and where: what the sentences of a story are made of."""

    name: str
    she: str
    thing: str
    container: str
    start: str
    way: str
    end: str
    below: str

    def at(self, place: str) -> str:
        return f"{_ALL[place][0]} the {place}"

    def to(self, place: str) -> str:
        return f"{'into' if _ALL[place][0] == 'in' else 'onto'} the {place}"


_Plot = Callable[[_Scene], list[Act]]
#: Plots in which the thing stays behind, and in which it ends where the container does. The first
#: one is the source's.
_STAYS: tuple[_Plot, ...] = (
    lambda s: [("put in", ""), ("turn", ""), ("carry", s.end)],
    lambda s: [("put in", ""), ("turn", ""), ("turn", ""), ("carry", s.end)],
    lambda s: [("hole", "wide"), ("put in", ""), ("carry", s.end)],
    lambda s: [("put in", ""), ("cover", ""), ("uncover", ""), ("turn", ""), ("carry", s.end)],
    lambda s: [("put in", ""), ("turn above", s.below), ("carry", s.end)],
    lambda s: [("put in", ""), ("carry", s.way), ("turn", ""), ("carry", s.end)],
    lambda s: [("put beside", ""), ("turn", ""), ("carry", s.end)],
    lambda s: [("tray", ""), ("put in", ""), ("turn", ""), ("carry tray", s.way),
               ("take away", s.end)],
    lambda s: [("put in", ""), ("cover", ""), ("carry", s.way), ("uncover", ""), ("turn", ""),
               ("carry", s.end)],
)  # fmt: skip
_TRAVELS: tuple[_Plot, ...] = (
    lambda s: [("put in", ""), ("carry", s.end)],
    lambda s: [("put in", ""), ("cover", ""), ("turn", ""), ("carry", s.end)],
    lambda s: [("put in", ""), ("carry", s.end), ("turn", "")],
    lambda s: [("put in", ""), ("turn", ""), ("slip under", ""), ("carry", s.end)],
    lambda s: [("tray", ""), ("put in", ""), ("turn", ""), ("carry tray", s.end)],
    lambda s: [("put in", ""), ("glue", ""), ("turn", ""), ("carry", s.end)],
    lambda s: [("pinhole", ""), ("put in", ""), ("carry", s.way), ("carry", s.end)],
    lambda s: [("turn", ""), ("put on top", ""), ("carry", s.end)],
    lambda s: [("turn", ""), ("turn", ""), ("put in", ""), ("carry", s.end)],
)


class _Marble(Probe):
    name = "marble"
    number = 7
    about = "A marble in a cup, the cup turned over and put into a microwave: where is it?"
    seen = "failed"
    most_tokens = MOST_TOKENS

    def draw(self, chance: random.Random, number: int) -> Variant:
        """Draw a plot, who and what it is about, and its words."""
        plots = _STAYS if number % 2 == 0 else _TRAVELS
        # The source's own plot comes twice as often as the others.
        plot = plots[max(0, chance.randrange(-1, len(plots)))]
        scene = _scene(chance)
        acts = plot(scene)
        world = World(scene.start)
        for act in acts:
            world.do(act)
        story = " ".join(_told(chance, scene, acts))
        asked = chance.choice(
            (
                "Where is the {} now? Name the place, not only what it is in or under.",
                "At which place is the {} now? Say where that is, not only in or under what.",
                "In the end, where is the {}? Name the place where it is to be found.",
            )
        ).format(scene.thing)
        names = [scene.start, scene.end]
        names += [p for p in (scene.way, scene.below) if any(p == with_ for _, with_ in acts)]
        if len(names) == 2:
            names.append(scene.below)
        offered = [scene.at(place) for place in names]
        chance.shuffle(offered)
        right = world.thing_at
        facts = {
            "thing": scene.thing,
            "container": scene.container,
            "places": {place: [place, *_ALL[place][1]] for place in names},
            "others": [scene.name, "lid", "card", "tray", "postcard"],
            "start": scene.start,
            "right": right,
            "inside": world.inside,
            "container_at": world.at,
            "acts": [list(act) for act in acts],
        }
        ask = "The answer is one of: " + "; ".join(offered) + "."
        return Variant(
            number,
            [{"role": "user", "content": f"{story} {asked} {ending(chance)}"}],
            facts,
            scene.at(right) + (f", in the {scene.container}" if world.inside else ""),
            reasoned({"enum": offered}, ask),
        )

    def judge(self, variant: Variant, answer: str) -> Verdict:
        """Judge the place where the answer says at last that the thing is."""
        facts = variant.facts
        thing, container, right = facts["thing"], facts["container"], facts["right"]
        text = statements.own(answer, question_of(variant))
        said = places.said(text, thing, container, facts["places"], facts["others"])
        if said.fault:
            return Verdict(0.0, said.fault)
        if not said.place:
            if said.within and facts["inside"]:
                return Verdict(INSIDE_ALONE, f"in the {container}, but not where that is: {right}")
            return Verdict(0.0, f"names no place; the {thing} is at the {right}")
        if said.place != right:
            return Verdict(0.0, f"says the {said.place}; the {thing} is at the {right}")
        if said.beside and _ALL[right][0] == "in":
            return Verdict(BESIDE, f"right place ({right}), but in it, not on or beside it")
        if said.within and not facts["inside"] and facts["container_at"] != right:
            return Verdict(WRONG_INSIDE, f"right place ({right}), but not in the {container}")
        return Verdict(1.0, f"right: {right}")


def _scene(chance: random.Random) -> _Scene:
    (name,) = people(chance, 1)
    start, way = chance.sample(sorted(_TOPS), 2)
    # The source's microwave is the end of every third story.
    end = "microwave" if chance.random() < 0.2 else chance.choice(sorted(_INSIDES))
    return _Scene(
        name,
        "she" if name in WOMEN else "he",
        chance.choice(_THINGS),
        chance.choice(_CONTAINERS),
        start,
        way,
        end,
        chance.choice(sorted(_BELOW)),
    )


def _told(chance: random.Random, scene: _Scene, acts: list[Act]) -> list[str]:
    """The story, a sentence for each act."""
    c, t, she = scene.container, scene.thing, scene.she
    told = []
    kind = chance.choice(("an empty", "an ordinary", "an open"))
    place = scene.at(scene.start)
    match acts[0]:
        case ("tray", _):
            told.append(f"On a tray {place} stands {kind} {c}.")
        case ("hole", _):
            told.append(f"A {c} stands {place}. There is a hole in its bottom, wider than a {t}.")
        case ("pinhole", _):
            told.append(
                f"A {c} stands {place}. There is a hole in its bottom, much too small for a {t}."
            )
        case _:
            told.append(f"{kind.capitalize()} {c} stands {place}.")
    turned = False
    for n, (verb, where) in enumerate(acts):
        who = (
            scene.name if not any(scene.name in sentence for sentence in told) else she.capitalize()
        )
        then = who if n == 0 or who == scene.name else chance.choice((f"Then {she}", who, who))
        match verb:
            case "put in":
                told.append(
                    f"{then} {chance.choice(('puts', 'drops', 'lays'))} a {t} into the {c}."
                )
            case "put beside":
                told.append(f"{then} lays a {t} beside the {c}.")
            case "put on top":
                told.append(f"{then} lays a {t} on top of the {c}, on its upturned bottom.")
            case "glue":
                told.append(f"{then} glues the {t} firmly to the bottom of the {c}.")
            case "cover":
                told.append(
                    f"{then} closes the {c} with {chance.choice(('a tight lid', 'strong tape'))}."
                )
            case "uncover":
                told.append(f"{then} opens the {c} again.")
            case "slip under":
                told.append(
                    f"{then} slips a stiff card under the mouth of the {c} and holds it there "
                    "firmly."
                )
            case "turn":
                told.append(_turns(chance, then, c, turned))
                turned = not turned
            case "turn above":
                told.append(
                    f"{then} takes the {c}, holds it upside down above the {where} for a while, "
                    "and turns it upright again."
                )
            case "carry":
                told.append(
                    _carries(chance, then, scene, where, turned, ("slip under", "") in acts)
                )
            case "carry tray":
                told.append(f"{then} carries the tray, with all that is on it, {scene.to(where)}.")
            case "take away":
                told.append(
                    f"{then} lifts the {c} straight up from the tray and puts it {scene.to(where)}."
                )
    return told


def _turns(chance: random.Random, then: str, container: str, turned: bool) -> str:
    """Turn it over where it stands, or back."""
    if turned:
        return f"{then} turns the {container} upright again where it stands."
    how = chance.choice(
        ("turns the {} upside down where it stands", "turns the {} over, so that its mouth is down",
         "puts the {} upside down in the same spot")
    )  # fmt: skip
    return f"{then} {how.format(container)}."


def _carries(
    chance: random.Random, then: str, scene: _Scene, where: str, turned: bool, card: bool
) -> str:
    """Carry it somewhere, as it is."""
    if card:
        return f"{then} carries the {scene.container} and the card together {scene.to(where)}."
    how = chance.choice(("lifts the {} and puts it {}", "picks up the {} and carries it {}"))
    as_it_is = ", without turning it" if chance.random() < 0.5 or turned else ""
    return f"{then} {how.format(scene.container, scene.to(where))}{as_it_is}."


PROBE = _Marble()
