"""Lessons of thinking: ordering, conditions, causes, lists, and what does and does not follow."""

from __future__ import annotations

from itertools import pairwise

from pocketlm.recipe.demo.programs.lesson import (
    PEOPLE,
    Lesson,
    Voice,
    capital,
    counted,
    listed,
    ordinal,
    plural,
    spelt,
    table,
)

SCALES = (  # more, less, most, least, what is asked
    ("taller", "shorter", "tallest", "shortest"),
    ("older", "younger", "oldest", "youngest"),
    ("faster", "slower", "fastest", "slowest"),
    ("stronger", "weaker", "strongest", "weakest"),
    ("heavier", "lighter", "heaviest", "lightest"),
)
CAUSES = table("causes")
CLASSES = table("classes")
STEPS = table("steps")


def ordering(voice: Voice) -> list[str]:
    """Who is the tallest, from comparisons."""
    more, less, most, least = voice.one(SCALES)
    people = voice.some(PEOPLE, voice.number(3, 5))
    said = [
        voice.say(
            "{a} is {more} than {b}." if voice.chance.random() < 0.5 else "{b} is {less} than {a}.",
            a=a,
            b=b,
            more=more,
            less=less,
        )
        for a, b in pairwise(people)
    ]
    middle = voice.number(1, len(people) - 1)
    return [
        " ".join(
            [
                *voice.mixed(said),
                voice.say("[Who is the {most}|Who of them is the {most}]?", most=most),
            ]
        ),
        voice.text(
            "[Put them in a row, beginning with the {most}.|It helps to write the names in order.]",
            "[If one is {more} than a second, and the second is {more} than a third, then the first"
            " is {more} than the third.|What holds from one to the next holds along the whole"
            " row.]",
            "[The order is|From the {most} to the {least} they are] {row}.",
            "[So the {most} is {first}, and the {least} is {last}.|{first} is the {most}, and"
            " {last} the {least}.]",
            "[{nth} in the row is {one}.|]",
            more=more,
            most=most,
            least=least,
            row=listed(people),
            first=people[0],
            last=people[-1],
            nth=capital(ordinal(middle + 1)),
            one=people[middle],
        ),
    ]


def cause(voice: Voice) -> list[str]:
    """What follows from what, and why."""
    (first, effect, why), (other, other_effect, other_why) = voice.some(CAUSES, 2)
    return [
        voice.text(
            "[A cause makes something happen, and an effect is what happens.|What happens is an"
            " effect; what makes it happen is its cause.]",
            "[When|If] {first}, {effect}.",
            "[Why? Because {why}.|The reason is that {why}.|This is so because {why}.]",
            first=first,
            effect=effect,
            why=why,
        ),
        voice.text(
            "[Another example:|In the same way,] when {other}, {effect}[, since {why}|, as {why}].",
            '[The cause comes first and the effect after it.|"Because" stands before a cause, and'
            ' "so" before an effect.|To find a cause, ask why.]',
            other=other,
            effect=other_effect,
            why=other_why,
        ),
    ]


def conditions(voice: Voice) -> list[str]:
    """If and then, and what may not be concluded."""
    first, effect, why = voice.one(CAUSES)
    who = voice.one(PEOPLE)
    return [
        voice.text(
            "[{who} knows this rule|We take this for granted|Suppose that this holds]: if {first},"
            " {effect}.",
            "[The rule rests on the fact that {why}.|It holds because {why}.|]",
            who=who,
            first=first,
            effect=effect,
            why=why,
        ),
        voice.text(
            "[Now {first}.|We see that {first}.] [Then we may conclude that|It follows that]"
            " {effect}.",
            "[But it does not work backwards.|The other direction is not certain.]",
            "If we only know that {effect}, [there may be another cause|something else may have"
            " caused it], and so we cannot be sure that {first}.",
            first=first,
            effect=effect,
        ),
    ]


def syllogism(voice: Voice) -> list[str]:
    """All of a kind; some; none."""
    kind, wider, does = voice.one(CLASSES)
    return [
        voice.text(
            "All {kind} are {wider}. All {wider} {does}. [What follows|What can we conclude]?",
            "[Whatever is true of all {wider} is true of {kind}, because {kind} are among them.|As"
            " every one of the {kind} is among the {wider}, it has what they all have.]",
            "So all {kind} {does}.",
            "[We may not turn this around: not all {wider} are {kind}.|The reverse would be wrong:"
            " there are {wider} that are not {kind}.|That something is among the {wider} does not"
            " yet make it one of the {kind}.]",
            kind=kind,
            wider=wider,
            does=does,
        )
    ]


def procedure(voice: Voice) -> list[str]:
    """How something is done, step by step."""
    what, *steps = voice.one(STEPS)
    place = voice.number(1, len(steps) - 2)
    words = ("First", "Then", "Next", "After that", "Now", "Finally")
    numbered = voice.chance.random() < 0.5
    if numbered:
        body = "\n".join(f"{number}. {capital(step)}." for number, step in enumerate(steps, 1))
    else:
        body = " ".join(f"{word}, {step}." for word, step in zip(words, steps, strict=True))
    return [
        voice.text(
            "[How do you {what}?|This is how to {what}.|To {what}, follow these steps.]",
            "[There are {count} steps.|The order matters.|Do one thing after the other.|]",
            what=what,
            count=spelt(len(steps)),
        ),
        body,
        voice.text(
            "[The {nth} step is to {step}.|As the {nth} thing, {step}.]",
            '[It comes before the step "{after}" and after the step "{before}".|Before you {step},'
            " {before}; afterwards, {after}.]",
            "[Whoever leaves a step out will see why it is there.|If something goes wrong, go back"
            " one step.|With some practice it is easy to {what}.]",
            nth=ordinal(place + 1),
            step=steps[place],
            before=steps[place - 1],
            after=steps[place + 1],
            what=what,
        ),
    ]


def reading_lists(voice: Voice) -> list[str]:
    """Finding things in a list: place, count, most and least."""
    people = voice.some(PEOPLE, voice.number(4, 6))
    counts = voice.some(range(2, 60), len(people))
    thing = voice.one(
        ("book", "stamp", "photograph", "letter", "message", "file", "seed", "poster")
    )
    rows = "\n".join(
        f"{who}: {counted(count, thing)}" for who, count in zip(people, counts, strict=True)
    )
    most, least = people[counts.index(max(counts))], people[counts.index(min(counts))]
    limit = sorted(counts)[len(counts) // 2]
    over = [who for who, count in zip(people, counts, strict=True) if count >= limit]
    return [
        voice.text(
            "[The list shows how many {things} each person has.|Here is how many {things} each of"
            " them has collected.|We count the {things} of {n} people.]",
            things=plural(thing),
            n=spelt(len(people)),
        ),
        rows,
        voice.text(
            "[Who has the most? Look for the largest number: it is {max}, so it is {most}.|{most}"
            " has the most, {max}.]",
            "[{least} has the fewest, only {min}.|The smallest number is {min}, and it belongs to"
            " {least}.]",
            "[{max} - {min} = {gap}, so {most} has {gap} more than {least}.|]",
            "[Those who have {limit} or more are {over}.|At least {limit} {things} are owned by"
            " {over}.]",
            "[In all there are {total} {things}.|Together they have {total} {things}.]",
            max=max(counts),
            min=min(counts),
            most=most,
            least=least,
            gap=max(counts) - min(counts),
            limit=limit,
            over=listed(over),
            total=sum(counts),
            things=plural(thing),
        ),
    ]


def dialogue(voice: Voice) -> list[str]:
    """A pupil asks why, and a teacher answers."""
    first, effect, why = voice.one(CAUSES)
    pupil, teacher = voice.some(PEOPLE, 2)
    wrong = voice.one([each[2] for each in CAUSES if each[2] != why])
    return [
        voice.say(
            "{pupil}: [I have noticed something.|May I ask something?] When {first}, {effect}. [Why"
            " is that?|How does that come about?]",
            pupil=pupil,
            first=first,
            effect=effect,
        ),
        voice.say(
            "{teacher}: [What do you think yourself?|Good question. What is your guess?|Have you an"
            " idea of your own?]",
            teacher=teacher,
        ),
        voice.say("{pupil}: [Perhaps|Maybe|Is it] because {wrong}?", pupil=pupil, wrong=wrong),
        voice.say(
            "{teacher}: [That is true in itself, but it has nothing to do with this.|That explains"
            " something else.|No, that is the reason for another thing.] [Think of this|The real"
            " reason is this]: {why}.",
            teacher=teacher,
            why=why,
        ),
        voice.say(
            "{pupil}: [Now I see.|Then I understand.] [So it is no accident that {effect}.|And if"
            " it were not so that {first}, it would not happen for this reason.]",
            pupil=pupil,
            first=first,
            effect=effect,
        ),
    ]


LESSONS: tuple[Lesson, ...] = (
    ordering,
    cause,
    conditions,
    syllogism,
    procedure,
    reading_lists,
    dialogue,
)
