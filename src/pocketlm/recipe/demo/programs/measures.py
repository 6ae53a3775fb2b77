"""Lessons of units, shapes, dates and clocks."""

from __future__ import annotations

import datetime
from math import isqrt

from pocketlm.recipe.demo.programs.lesson import (
    PEOPLE,
    Lesson,
    Voice,
    counted,
    ordinal,
    plural,
    words,
)

UNITS = (  # large, small, how many small ones make a large one, what is measured
    ("metre", "centimetre", 100, "length"),
    ("kilometre", "metre", 1000, "length"),
    ("centimetre", "millimetre", 10, "length"),
    ("kilogram", "gram", 1000, "mass"),
    ("tonne", "kilogram", 1000, "mass"),
    ("litre", "millilitre", 1000, "volume"),
    ("hour", "minute", 60, "time"),
    ("minute", "second", 60, "time"),
    ("day", "hour", 24, "time"),
    ("week", "day", 7, "time"),
    ("kilobyte", "byte", 1000, "the size of a file"),
    ("megabyte", "kilobyte", 1000, "the size of a file"),
    ("pound", "penny", 100, "money"),
)
POLYGONS = {3: "triangle", 4: "quadrilateral", 5: "pentagon", 6: "hexagon", 8: "octagon"}
POLYGONS |= {10: "decagon"}
MONTHS = words(
    "January February March April May June July August September October November December"
)
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")


def _units(count: int, unit: str) -> str:
    if unit == "penny":
        return f"{count:,} {'penny' if count == 1 else 'pence'}"
    return counted(count, unit)


def conversion(voice: Voice) -> list[str]:
    """From one unit into another."""
    large, small, factor, what = voice.one(UNITS)
    count, rest = voice.number(2, 19), voice.number(1, factor - 1)
    total = count * factor + rest
    return [
        voice.text(
            "[{Large} and {small} are units of {what}.|{what} can be measured in {large} or in"
            " {small}.]",
            "[One {one} is {factor}.|{factor} make one {one}.|There are {factor} in one {one}.]",
            Large=plural(large),
            large=plural(large),
            small="pence" if small == "penny" else plural(small),
            what=what,
            one=large,
            factor=_units(factor, small),
        ),
        voice.text(
            "[How much are {a} and {b}, in the smaller unit?|Let us write {a} and {b} with one unit"
            " only.|What are {a} and {b} in the smaller unit alone?]",
            "[A larger unit holds many smaller ones, so we multiply|Going to the smaller unit, we"
            " multiply]: {count} times {factor} is {product:,}.",
            "[With the {rest} that were there already, that makes {total}.|Add {rest}, and the"
            " answer is {total}.]",
            "[To go back, divide by {factor}: {count} and a remainder of {rest}.|The other way we"
            " would divide by {factor}.]",
            a=_units(count, large),
            b=_units(rest, small),
            count=count,
            factor=factor,
            product=count * factor,
            rest=rest,
            total=_units(total, small),
        ),
    ]


def comparing_measures(voice: Voice) -> list[str]:
    """Which of two amounts in different units is more."""
    large, small, factor, what = voice.one([each for each in UNITS if each[2] > 20])
    count = voice.number(2, 9)
    other = count * factor + voice.one((-1, 1)) * voice.number(1, factor - 1)
    more = other > count * factor
    return [
        voice.text(
            "[Which is more, {a} or {b}?|Is {a} more than {b}, or less?]",
            "[Amounts can be compared only in the same unit.|To compare them, both must be in one"
            " unit.|Comparing the bare numbers {count} and {other:,} would mislead, as the units"
            " differ.]",
            "{a} [is|are] {same}[, as one {large} is {factor}|].".replace("[is|are]", "make"),
            "[{same} is {than} than {b}|Now it is plain that {b} is {other_than}], so {answer} is"
            " the larger amount of {what}."
            if what != "time"
            else "So {answer} is the longer time.",
            a=_units(count, large),
            b=_units(other, small),
            count=count,
            other=other,
            same=_units(count * factor, small),
            large=large,
            factor=_units(factor, small),
            than="less" if more else "more",
            other_than="more" if more else "less",
            answer=_units(other, small) if more else _units(count, large),
            what=what if what != "the size of a file" else "data",
        )
    ]


def rectangles(voice: Voice) -> list[str]:
    """Area and perimeter."""
    a, b = voice.number(3, 30), voice.number(2, 25)
    what = voice.one(("room", "garden", "field", "carpet", "wall", "yard", "sheet of tin"))
    unit = "metre"
    return [
        voice.text(
            "[A {what} is {a} long and {b} wide.|The sides of a {what} measure {a} and {b}.]",
            "[What is its area, and how long is the way around it?|Let us find its area and its"
            " perimeter.]",
            what=what,
            a=counted(a, unit),
            b=counted(b, unit),
        ),
        voice.text(
            "[The area of a rectangle is its length times its width|To find the area, multiply the"
            " two sides]: {a} x {b} = {area} square metres.",
            "[One can think of {b} rows of {a} square tiles.|Think of tiles of one square metre:"
            " {a} fit in a row, and there are {b} rows.|]",
            a=a,
            b=b,
            area=a * b,
        ),
        voice.text(
            "The perimeter is [the way around|the sum of all four sides]: {a} + {b} + {a} + {b} ="
            " {p} metres.",
            "[Area is measured in square units and perimeter in units of length.|A fence around it"
            " would be {p} metres long.]",
            "[As both sides are equal, it is a square.|All sides are equal, so this is a square.]"
            if a == b
            else "",
            a=a,
            b=b,
            p=2 * (a + b),
        ),
    ]


def angles(voice: Voice) -> list[str]:
    """The third angle of a triangle."""
    first, second = voice.number(20, 100), voice.number(15, 70)
    third = 180 - first - second
    biggest = max(first, second, third)
    kind = "right-angled" if biggest == 90 else ("obtuse" if biggest > 90 else "acute")
    same = len({first, second, third})
    return [
        voice.text(
            "[The angles of a triangle add up to 180 degrees.|In every triangle the three angles"
            " make 180 degrees together.]",
            "[One angle is {a} degrees and another is {b} degrees.|Two of them are known: {a}"
            " degrees and {b} degrees.]",
            "[How large is the third?|What is the third angle?]",
            "[{a} + {b} = {ab}, and 180 - {ab} = {c}.|Taking both from 180, we get 180 - {a} - {b}"
            " = {c}.]",
            "So the third angle is {c} degrees.",
            "[The largest angle, {big} degrees, makes the triangle {kind}.|As its largest angle is"
            " {big} degrees, the triangle is {kind}.]",
            "[Two angles are equal, and so are the sides opposite to them.]" if same == 2 else "",
            a=first,
            b=second,
            ab=first + second,
            c=third,
            big=biggest,
            kind=kind,
        )
    ]


def polygons(voice: Voice) -> list[str]:
    """Sides, corners, angles."""
    sides = voice.one(sorted(POLYGONS))
    name, side = POLYGONS[sides], voice.number(2, 30)
    return [
        voice.text(
            "[A polygon is a flat shape with straight sides.|Shapes with straight sides are called"
            " polygons.]",
            "A polygon with {n} sides is called {article} {name}[, and it has {n} corners too|; it"
            " has as many corners as sides].",
            "[If all its sides and angles are equal, it is regular.|It is regular if its sides and"
            " its angles are all equal.]",
            n=sides,
            article="an" if name[0] in "aeiou" else "a",
            name=name,
        ),
        voice.text(
            "[Lines from one corner cut it into {t} triangles|It can be cut into {t} triangles],"
            " [each with|and each has] angles of 180 degrees in all, so its angles add up to {sum}"
            " degrees."
            if sides > 3
            else "Its angles add up to 180 degrees.",
            "[In a regular {name} each angle is {sum} / {n} = {each} degrees.|]",
            "[If each side is {side} centimetres long, the perimeter is {n} x {side} = {p}"
            " centimetres.|With sides of {side} centimetres, its perimeter is {p} centimetres.]",
            t=sides - 2,
            sum=180 * (sides - 2),
            n=sides,
            name=name,
            each=f"{180 * (sides - 2) / sides:g}",
            side=side,
            p=sides * side,
        ),
    ]


def squares(voice: Voice) -> list[str]:
    """Squares and roots."""
    n, other = voice.number(4, 30), voice.number(17, 900)
    below = isqrt(other)
    return [
        voice.text(
            "The square of a number is the number times itself[, like the area of a square with"
            " sides of that length|].",
            "[{n} squared is {n} x {n} = {nn}|The square of {n} is {nn}], so the square root of"
            " {nn} is {n}.",
            "[What about {other}?|And the root of {other}?]",
            "It is exactly {below}, as {below} x {below} = {other}."
            if below**2 == other
            else "{below} x {below} is {low}, which is too small, and {above} x {above} is {high},"
            " which is too large; so the root of {other} lies between {below} and {above}.",
            n=n,
            nn=n * n,
            other=other,
            below=below,
            above=below + 1,
            low=below**2,
            high=(below + 1) ** 2,
        )
    ]


def calendar(voice: Voice) -> list[str]:
    """On which day a date falls."""
    start = datetime.date(voice.number(1950, 2040), voice.number(1, 12), voice.number(1, 28))
    ahead = voice.number(8, 60)
    end = start + datetime.timedelta(ahead)
    who = voice.one(PEOPLE)
    weeks, days = divmod(ahead, 7)
    return [
        voice.text(
            "[Today is|It is] {day}, {date}. {who} [will travel|has a birthday|moves house|sits an"
            " examination] in {ahead} days. [On which day of the week is that?|What day will it"
            " be?]",
            day=DAYS[start.weekday()],
            date=_date(start),
            who=who,
            ahead=ahead,
        ),
        voice.text(
            "[A week has seven days, so after seven days the same day of the week comes again.|The"
            " days of the week come again every seven days.]",
            "{ahead} days are {weeks} and {days}."
            if days
            else "{ahead} days are exactly {weeks}, so it is the same day of the week: {then}.",
            "[Counting {days} on from {day}, we come to {then}.|We count {days} on from {day}: it"
            " is {then}.]"
            if days
            else "",
            "The date is then {end}[.|, as {month} has {length} days.]",
            ahead=ahead,
            weeks=counted(weeks, "week"),
            days=counted(days, "day"),
            day=DAYS[start.weekday()],
            then=DAYS[end.weekday()],
            end=_date(end),
            month=MONTHS[start.month - 1],
            length=_length(start),
        ),
    ]


def leap_years(voice: Voice) -> list[str]:
    """Whether a year has 366 days."""
    year = voice.one((voice.number(1801, 2199), voice.one((1700, 1800, 1900, 2000, 2100, 2400))))
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if year % 4:
        why = "{year} divided by 4 leaves {rest}, so it is not a leap year."
    elif year % 100:
        why = "4 divides {year} and 100 does not, so it is a leap year."
    elif leap:
        why = "{year} ends a century, but 400 divides it, so it is a leap year."
    else:
        why = (
            "100 divides {year} and 400 does not, so it is not a leap year, although 4 divides it."
        )
    return [
        voice.text(
            "[Let us see whether {year} is a leap year.|Is {year} a leap year?|Does February of"
            " {year} have 28 days or 29?]",
            "[A year is a leap year if 4 divides it; but years that 100 divides are leap years only"
            " if 400 divides them too.|Every fourth year is a leap year. Of the years that end a"
            " century only those that 400 divides are.]",
            why,
            "[February has {feb} days in it, and the whole year {all}.|So {year} has {all} days,"
            " and its February has {feb}.]",
            year=year,
            rest=year % 4,
            feb=29 if leap else 28,
            all=366 if leap else 365,
        )
    ]


def clocks(voice: Voice) -> list[str]:
    """How long something takes; when it ends."""
    start, length = voice.number(6 * 60, 20 * 60), voice.number(25, 190)
    what = voice.one(
        (
            "The train leaves",
            "The film begins",
            "The lesson begins",
            "The ferry sails",
            "The bus goes",
        )
    )
    end = start + length
    to_hour = (60 - start % 60) % 60
    return [
        voice.text(
            f"{what} at {{start}} and [takes|needs] {{long}}. [At what time does that"
            " end?|When is that over?|What time is it then?]",
            start=_clock(start),
            long=_long(length),
        ),
        voice.text(
            "[From {start} to the full hour are {to}, which leaves {left}.|Go first to the full"
            " hour: that takes {to}, and {left} are still to come.]"
            if 0 < to_hour < length - 1
            else "",
            "[An hour has 60 minutes, not 100, so take care when the minutes go past 60.|When the"
            " minutes reach 60, a new hour begins.]",
            "[Adding {long} to {start} gives {end}.|The end is at {end}.]",
            "[On a clock with twelve hours that is {twelve}.|]",
            start=_clock(start),
            to=counted(to_hour, "minute"),
            left=_long(max(length - to_hour, 0)),
            long=_long(length),
            end=_clock(end),
            twelve=_twelve(end),
        ),
    ]


def speeds(voice: Voice) -> list[str]:
    """Distance, speed and time."""
    who = voice.one(("train", "cyclist", "ship", "lorry", "runner", "coach"))
    speed = voice.number(8, 14) if who == "runner" else voice.number(15, 90)
    hours = voice.number(2, 6)
    unknown = voice.one(("distance", "time"))
    return [
        voice.text(
            "[Speed says how far something goes in a certain time.|A speed is a distance for each"
            " unit of time.]",
            "A {who} goes {speed} kilometres in an hour[, always at the same speed|].",
            "How far does it go in {hours} hours?"
            if unknown == "distance"
            else "How long does it take for {way} kilometres?",
            "[In each hour {speed} kilometres are added, so|Distance is speed times time:] {hours}"
            " x {speed} = {way}, and the distance is {way} kilometres."
            if unknown == "distance"
            else "[Time is distance divided by speed:|We ask how often {speed} goes into {way}:]"
            " {way} / {speed} = {hours}, so it takes {hours} hours.",
            "[At half the speed it would take twice as long.|Twice as fast, it would need half the"
            " time.|]",
            who=who,
            speed=speed,
            hours=hours,
            way=speed * hours,
        )
    ]


def _date(day: datetime.date) -> str:
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def _length(day: datetime.date) -> int:
    following = datetime.date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return (following - day.replace(day=1)).days


def _clock(minutes: int) -> str:
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"


def _twelve(minutes: int) -> str:
    hour = minutes // 60 % 24
    half = (
        "in the morning" if hour < 12 else ("in the afternoon" if hour < 18 else "in the evening")
    )
    return f"{(hour - 1) % 12 + 1}:{minutes % 60:02d} {half}"


def _long(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    parts = [counted(hours, "hour")] if hours else []
    parts += [counted(rest, "minute")] if rest or not hours else []
    return " and ".join(parts)


def months(voice: Voice) -> list[str]:
    """The order and the lengths of months."""
    number = voice.number(2, 11)
    name, length = MONTHS[number - 1], _length(datetime.date(2001, number, 1))
    return [
        voice.text(
            "[{name} is the {nth} month of the year.|The {nth} of the twelve months is {name}.]",
            "[It comes after {before} and before {after}.|{before} goes before it, and {after}"
            " follows.]",
            "{name} has {length} days"
            + (", and 29 in a leap year." if number == 2 else "[.|, like {others}.]"),
            "[So there are {weeks} weeks and {days} in it.|That is {weeks} weeks and {days}.]"
            if length % 7
            else "That is exactly four weeks.",
            name=name,
            nth=ordinal(number),
            before=MONTHS[number - 2],
            after=MONTHS[number],
            length=length,
            weeks="four",
            days=counted(length - 28, "day", words=True),
            others=voice.one(
                [
                    MONTHS[k]
                    for k in range(12)
                    if k + 1 != number and _length(datetime.date(2001, k + 1, 1)) == length
                ]
                or [name]
            ),
        )
    ]


LESSONS: tuple[Lesson, ...] = (
    conversion,
    comparing_measures,
    rectangles,
    angles,
    polygons,
    squares,
    calendar,
    leap_years,
    clocks,
    speeds,
    months,
)
