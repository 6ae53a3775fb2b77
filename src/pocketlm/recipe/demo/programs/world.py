"""Lessons of words and things: what something is, how it is told from others, what follows."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from pocketlm.recipe.demo.programs.lesson import (
    PEOPLE,
    Lesson,
    Voice,
    a,
    capital,
    listed,
    plural,
    table,
    words,
)


class Term(NamedTuple):
    """A word, what kind of thing it names, what sets it apart, and two facts."""

    name: str
    kind: str
    apart: str
    fact: str
    another: str


TERMS = [Term(*row) for row in table("words")]
KINDS = sorted({each.kind for each in TERMS})
_MASS = set(words("iron copper gold glass wood paper ice steam oxygen moss wheat skin"))
_KIN = (  # a bird is an animal as well: such do not tell words apart
    {"animal", "bird", "insect"},
    {"tree", "plant", "part of a plant"},
    {"organ", "part of the body"},
    {"tool", "instrument", "simple machine", "piece of glass", "object", "vehicle"},
    {"metal", "material", "substance", "gas", "piece of glass"},
    {"program", "part of a program", "list of instructions"},
)

OPPOSITES = table("opposites")


def _named(term: Term) -> str:
    return term.name if term.name in _MASS else a(term.name)


def definition(voice: Voice) -> list[str]:
    """What a thing is, and more about it."""
    term = voice.one(TERMS)
    others = voice.some(
        [each for each in TERMS if each.kind == term.kind and each != term] or [term], 1
    )
    return [
        voice.text(
            "[What is {it}?|{It} is something that everyone has heard of; but what is it?|Let us"
            ' explain the word "{name}".|]',
            "{It} is {kind} {apart}.",
            term.fact,
            term.another,
            it=_named(term),
            It=capital(_named(term)),
            name=term.name,
            kind=a(term.kind),
            apart=term.apart,
        ),
        voice.text(
            "[A definition says first what kind of thing something is, and then what sets it"
            " apart.|To define a word, name the kind of thing, and then what makes it different"
            " from others of its kind.|A good definition has two parts.]",
            '[Here the kind is "{kind}"|The kind of thing is {a_kind}], and [what sets it apart|the'
            ' difference] is [expressed by|said in] the words "{apart}".',
            "[{Other} is {a_kind} too, but one {other_apart}.|Compare {other}: that is {a_kind}"
            " {other_apart}.]"
            if others[0] != term
            else "",
            kind=term.kind,
            a_kind=a(term.kind),
            apart=term.apart,
            other=_named(others[0]),
            Other=capital(_named(others[0])),
            other_apart=others[0].apart,
        ),
    ]


def riddle(voice: Voice) -> list[str]:
    """Which of four words is meant."""
    term, *others = voice.some(TERMS, 4)
    names = voice.mixed([each.name for each in (term, *others)])
    wrong = voice.one(others)
    return [
        voice.text(
            "[Which of these words is meant: {names}?|One of these words is wanted: {names}.]",
            "[It names {kind} {apart}.|Look for {kind} {apart}.|The clue: {kind} {apart}.]",
            "[A further clue: it|It] is not {wrong}.",
            names=listed(names, "or"),
            kind=a(term.kind),
            apart=term.apart,
            wrong=_named(wrong),
        ),
        voice.text(
            "[{Wrong} is {wrong_kind} {wrong_apart}, so that is not it.|It cannot be {wrong}, for"
            " that is {wrong_kind} {wrong_apart}.]",
            '[The answer is "{name}".|The right word is "{name}".]',
            term.fact,
            name=term.name,
            wrong=_named(wrong),
            Wrong=capital(_named(wrong)),
            wrong_kind=a(wrong.kind),
            wrong_apart=wrong.apart,
        ),
    ]


def glossary(voice: Voice) -> list[str]:
    """A few terms in alphabetical order."""
    terms = sorted(voice.some(TERMS, voice.number(3, 5)))
    first, last = terms[0].name, terms[-1].name
    return [
        voice.text(
            "[Here is a small glossary.|These are the words of today's lesson.|The following words"
            " are explained below.]",
            "[They stand in alphabetical order|The words are in the order of the alphabet]:"
            ' "{first}" comes first, and "{last}" comes last.',
            first=first,
            last=last,
        ),
        *[
            voice.text(
                "[{It} is|{name}:] {kind} {apart}.",
                voice.maybe(each.fact, 0.7),
                It=capital(_named(each)),
                name=capital(each.name),
                kind=a(each.kind),
                apart=each.apart,
            )
            for each in terms
        ],
    ]


def odd_one_out(voice: Voice) -> list[str]:
    """Three of a kind, and one that is not."""
    kind = voice.one([each for each in KINDS if sum(term.kind == each for term in TERMS) >= 3])
    same = voice.some([each for each in TERMS if each.kind == kind], 3)
    near = next((kin for kin in _KIN if kind in kin), {kind})
    odd = voice.one([each for each in TERMS if each.kind not in near])
    names = voice.mixed([each.name for each in (*same, odd)])
    return [
        voice.text(
            "[Which word does not belong with the others: {names}?|Of the words {names}, one does"
            " not fit.]",
            "[We ask what the words have in common.|Look for what three of them share.]",
            "[{A}, {b} and {c} are each {kind}|Three of them, {a}, {b} and {c}, name {kind}].",
            "[{Odd} is not {kind} but {odd_kind}|{Odd}, however, is {odd_kind}] {apart}.",
            'So "{odd_name}" [is the odd one out|does not belong].',
            names=listed(names),
            a=_named(same[0]),
            A=capital(_named(same[0])),
            b=_named(same[1]),
            c=_named(same[2]),
            kind=a(kind),
            Odd=capital(_named(odd)),
            odd_kind=a(odd.kind),
            apart=odd.apart,
            odd_name=odd.name,
        )
    ]


def plurals(voice: Voice) -> list[str]:
    """One and several, and the verb that goes with each."""
    nouns = voice.some([each.name for each in TERMS if each.name not in _MASS], 3)
    irregular = voice.one(("child", "foot", "mouse", "leaf", "knife", "person", "sheep"))
    verb, thing = voice.one((("is", "are"), ("was", "were"), ("has been", "have been"))), nouns[0]
    place = voice.one(("in the picture", "on the list", "in this chapter", "in the next room"))
    return [
        voice.text(
            "[A noun has a singular and a plural.|Most nouns have two forms, one for a single thing"
            " and one for several.]",
            '[The plural of "{a}" is "{As}", and that of "{b}" is "{Bs}".|We say one {a} but'
            " two {As}, one {b} but two {Bs}.]",
            "[Some plurals are irregular|A few must be learnt by heart]: one {odd}, [two|several]"
            " {odds}.",
            a=nouns[0],
            As=plural(nouns[0]),
            b=nouns[1],
            Bs=plural(nouns[1]),
            odd=irregular,
            odds=plural(irregular),
        ),
        voice.text(
            "The verb must agree with [its subject|the noun that it belongs to].",
            'We say "the {thing} {one} {place}", but "the {things} {many} {place}".',
            '["This" and "that" go with one thing, "these" and "those" with several: this {thing},'
            ' these {things}.|In the same way it is "this {thing}" and "these {things}".]',
            thing=thing,
            things=plural(thing),
            one=verb[0],
            many=verb[1],
            place=place,
        ),
    ]


def opposites(voice: Voice) -> list[str]:
    """Words that say the contrary."""
    pairs = voice.some(OPPOSITES, 3)
    who, other = voice.some(PEOPLE, 2)
    x, y = pairs[0]
    return [
        voice.text(
            "[Two words are opposites if one says the contrary of the other.|Opposites are words"
            " with contrary meanings.]",
            '[The opposite of "{x}" is "{y}".|"{X}" and "{y}" are opposites.]',
            '[Others are|So are] "{p}" and "{q}", and "{r}" and "{s}".',
            "[If {who} says that something is {x} and {other} says that it is {y}, they cannot both"
            " be right.|{who} calls it {x} and {other} calls it {y}: only one of them can be"
            " right.]",
            "[But a thing may be neither {x} nor {y}, and somewhere in between.|Between {x} and {y}"
            " there may be something in the middle.]"
            if x not in ("open", "full", "early")
            else "",
            x=x,
            X=capital(x),
            y=y,
            p=pairs[1][0],
            q=pairs[1][1],
            r=pairs[2][0],
            s=pairs[2][1],
            who=who,
            other=other,
        )
    ]


def alphabet(voice: Voice) -> list[str]:
    """Sorting words by their letters."""
    words = voice.some([each.name for each in TERMS], voice.number(4, 6))
    ordered = sorted(words)
    pair = next(
        ((p, q) for p, q in pairwise(ordered) if p[0] == q[0] and not q.startswith(p)),
        (ordered[0], ordered[-1]),
    )
    place = next(k for k, (p, q) in enumerate(zip(*pair, strict=False)) if p != q)
    letter = ("first", "second", "third", "fourth", "fifth", "sixth")[place]
    return [
        voice.text(
            "[Put these words in alphabetical order|Sort these words by the alphabet]: {words}.",
            "[First compare the first letters.|The first letter decides, and if it is the same, the"
            " next one.]",
            '"{p}" comes before "{q}", because [in their {letter} letters|at the {letter} letter]'
            ' "{x}" comes before "{y}".',
            "[In order they are|The sorted list is] {ordered}.",
            words=listed(words),
            p=pair[0],
            q=pair[1],
            letter=letter,
            x=pair[0][place],
            y=pair[1][place],
            ordered=listed(ordered),
        )
    ]


LESSONS: tuple[Lesson, ...] = (
    definition,
    riddle,
    glossary,
    odd_one_out,
    plurals,
    opposites,
    alphabet,
)
