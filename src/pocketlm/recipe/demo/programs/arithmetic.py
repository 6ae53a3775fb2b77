"""Lessons of arithmetic: sums and how they are found, and why that is right."""

from __future__ import annotations

from fractions import Fraction
from math import gcd

from pocketlm.recipe.demo.programs.lesson import (
    PEOPLE,
    Lesson,
    Voice,
    counted,
    listed,
    plural,
    spelt,
    words,
)

THINGS = words(
    "apple pear plum lemon orange book pencil stamp marble shell button coin ticket card brick"
    " plank nail screw cup plate spoon egg loaf cake chair lamp postcard photograph bead stone"
    " tulip rose candle bottle jar basket box envelope ribbon key ladder bucket"
)
PLACES = [
    "at the market",
    "in the shop",
    "at the fair",
    "in the garden",
    "at school",
    "in the barn",
]
PLACES += ["in the workshop", "at the library", "on the farm", "in the kitchen", "at the harbour"]


def addition(voice: Voice) -> list[str]:
    """Adding in columns, place by place."""
    a, b = voice.number(111, 989), voice.number(111, 989)
    paragraphs = [
        voice.text(
            "[How do we add {a} and {b}?|Let us add {a} and {b}.|We want the sum of {a} and {b}.]",
            "[Write one number under the other, so that ones stand under ones.|We add the ones"
            " first, then the tens, then the hundreds.|Each place is added by itself, from the"
            " right to the left.]",
            a=a,
            b=b,
        )
    ]
    carry, steps = 0, []
    for place, name in enumerate(("ones", "tens", "hundreds")):
        x, y = a // 10**place % 10, b // 10**place % 10
        total = x + y + carry
        with_carry = f" and the {carry} that was carried" if carry else ""
        rest = f"[write {total % 10} and carry 1|put down {total % 10}, and carry 1 to the left]"
        steps.append(
            voice.say(
                f"[In the {name}, {x} plus {y}{with_carry} makes {total}|The {name} are {x} and"
                f" {y}{with_carry}, which gives {total}]"
                + (f", so we {rest}." if total > 9 else ", and nothing is carried.")
            )
        )
        carry = total // 10
    paragraphs.append(" ".join(steps))
    paragraphs.append(
        voice.text(
            "[The sum is {total}.|So {a} + {b} = {total}.|Together they make {total}.]",
            "[To check, take {b} away from {total}: {a} is left.|A quick check: {round_a} and"
            " {round_b} make {round}, which is close to {total}.|Adding in the other order, {b}"
            " plus {a}, gives the same sum, as the order does not matter.]",
            a=a,
            b=b,
            total=a + b,
            round_a=_hundreds(a),
            round_b=_hundreds(b),
            round=_hundreds(a) + _hundreds(b),
        )
    )
    return paragraphs


def _hundreds(number: int) -> int:
    return (number + 50) // 100 * 100


def subtraction(voice: Voice) -> list[str]:
    """A story of what is left."""
    thing, (who, other) = voice.one(THINGS), voice.some(PEOPLE, 2)
    had, gave = voice.number(40, 400), voice.number(3, 29)
    left, place = had - gave, voice.one(PLACES)
    return [
        voice.text(
            "[{who} has {had} {things} {place}.|There are {had} {things} {place}, and all of them"
            " belong to {who}.|{place}, {who} counts {had} {things}.]",
            "[{who} gives {gave} of them to {other}.|{other} gets {gave} of them.|{who} sells"
            " {gave} of them to {other}.]",
            "How many [{things} are left|{things} does {who} have now|remain]?",
            who=who,
            other=other,
            had=had,
            gave=gave,
            things=plural(thing),
            place=place,
        ),
        voice.text(
            "[When things are taken away, we subtract.|To take away is to subtract.|What is left is"
            " found by subtraction.]",
            "{had} minus {gave} is {left}[.|, because {left} plus {gave} is {had}.]",
            "[So {left} {things} are left.|{who} still has {left} {things}.|The answer is {left}.]",
            had=had,
            gave=gave,
            left=left,
            things=plural(thing),
            who=who,
        ),
    ]


def multiplication(voice: Voice) -> list[str]:
    """Rows of equal length; breaking a product into easy ones."""
    rows, each, thing = voice.number(3, 9), voice.number(12, 48), voice.one(THINGS)
    tens, ones = each // 10 * 10, each % 10
    values = {"rows": rows, "each": each, "tens": tens, "ones": ones, "total": rows * each}
    words = {"things": plural(thing), "row": spelt(rows)}
    return [
        voice.text(
            "[There are {row} rows of {things}, and {each} {things} stand in each row.|{each}"
            " {things} fit into a crate, and there are {row} crates.|A shelf holds {each} {things};"
            " how many do {row} such shelves hold?]",
            "[Counting them one by one would take long.|We need not count all of them.|The groups"
            " are equal, so we can multiply.]",
            **values,
            **words,
        ),
        voice.text(
            "[Multiplication is adding the same number several times|To multiply is to add equal"
            " groups]: {each} is added {rows} times.",
            (
                "[It is easier in two parts, as {each} is {tens} + {ones}.|We split {each} into"
                " {tens} and {ones}.] {rows} times {tens} is {by_tens}, and {rows} times {ones} is"
                " {by_ones}. [Together that is|The two parts make] {by_tens} + {by_ones} = {total}."
                if ones
                else "{rows} times {by_ten} is {by_ten_total}, and with a zero at the end it is"
                " {total}."
            ),
            "[There are {total} {things} in all.|So the answer is {total}.|{rows} x {each} ="
            " {total}.]",
            **values,
            **words,
            by_tens=rows * tens,
            by_ones=rows * ones,
            by_ten=each // 10,
            by_ten_total=rows * (each // 10),
        ),
    ]


def division(voice: Voice) -> list[str]:
    """Sharing, with a remainder or without."""
    people, each = voice.number(3, 9), voice.number(4, 15)
    rest = voice.number(0, people - 1)
    total, thing = people * each + rest, voice.one(THINGS)
    names = voice.some(PEOPLE, people)
    return [
        voice.text(
            "{names} [share {total} {things} fairly|have found {total} {things} and want to share"
            " them|are given {total} {things}, to be shared equally].",
            "How many does each of the {count} get[, and are any left over]?",
            names=listed(names),
            total=total,
            things=plural(thing),
            count=spelt(people),
        ),
        voice.text(
            "[Sharing equally is division.|To share, we divide.|We ask how often {people} goes into"
            " {total}.]",
            "{people} times {each} is {product}[, which is not more than {total}|]."
            if rest
            else "{people} times {each} is exactly {product}.",
            "{people} times {more} would be {too_many}, and that is [too many|more than there"
            " are].",
            "[Each gets {each_things}.|So everyone gets {each_things}.]",
            f"[{counted(rest, thing)} {'is' if rest == 1 else 'are'} left over|The remainder is"
            f" {rest}]."
            if rest
            else "[Nothing is left over.|The remainder is zero.]",
            total=total,
            people=people,
            each=each,
            product=people * each,
            more=each + 1,
            too_many=people * (each + 1),
            each_things=counted(each, thing),
        ),
    ]


def fractions(voice: Voice) -> list[str]:
    """Adding fractions with different denominators."""
    b, d = voice.some(range(2, 10), 2)
    a, c = voice.number(1, b - 1), voice.number(1, d - 1)
    common = b * d // gcd(b, d)
    x, y = a * common // b, c * common // d
    total = Fraction(a, b) + Fraction(c, d)
    simple = f"{total.numerator}/{total.denominator}" if total.denominator > 1 else f"{total}"
    return [
        voice.text(
            "[A fraction is a part of a whole.|A fraction says how many equal parts of a whole we"
            " have.]",
            "The number below the line, the denominator, says into how many equal parts the whole"
            " is cut; the number above it, the numerator, says how many of them we [take|have].",
            "[In {a}/{b}, the whole is cut into {b} parts, and we have {a} of them.|So {a}/{b}"
            " means {a} of {b} equal parts.]",
            a=a,
            b=b,
        ),
        voice.text(
            "[To add {a}/{b} and {c}/{d}, the parts must be of the same size.|Fractions can be"
            " added when their parts are equal, and those of {a}/{b} and {c}/{d} are not yet.]",
            "[Both {b} and {d} divide {common}|The smallest number that {b} and {d} both divide is"
            " {common}], so we [use|write both with] the denominator {common}: {a}/{b} ="
            " {x}/{common} and {c}/{d} = {y}/{common}.",
            "Now {x}/{common} + {y}/{common} = {sum}/{common}.",
            ""
            if simple == f"{x + y}/{common}"
            else "[This can be written more simply as {simple}.|The same amount is {simple}.]",
            "[It is more than a whole.|That is more than 1.]"
            if total > 1
            else ("It is exactly one whole." if total == 1 else "It is less than a whole."),
            a=a,
            b=b,
            c=c,
            d=d,
            common=common,
            x=x,
            y=y,
            sum=x + y,
            simple=simple,
        ),
    ]


def percentages(voice: Voice) -> list[str]:
    """A reduced price."""
    percent, price = voice.one((5, 10, 15, 20, 25, 30, 40, 50)), 20 * voice.number(2, 40)
    off, thing = price * percent // 100, voice.one(("coat", "bicycle", "table", "radio", "camera"))
    return [
        voice.text(
            "[Percent means out of a hundred.|The word percent means for every hundred.]",
            "{percent} percent of something is {percent} [hundredths|parts out of a hundred] of"
            " it.",
            percent=percent,
        ),
        voice.text(
            "[A {thing} costs {price} pounds, and today it is {percent} percent cheaper.|The price"
            " of a {thing} is {price} pounds. In a sale it is cut by {percent} percent.]",
            "[One percent of {price} is {price} divided by 100, that is {one}|A hundredth of"
            " {price} is {one}], so {percent} percent [is|of it is] {percent} times {one}, which is"
            " {off}.",
            "The {thing} [now costs|can be had for] {price} - {off} = {left} pounds.",
            thing=thing,
            price=price,
            percent=percent,
            one=f"{price / 100:g}",
            off=off,
            left=price - off,
        ),
    ]


def averages(voice: Voice) -> list[str]:
    """The mean of a few numbers."""
    count, mean = voice.number(3, 6), voice.number(5, 40)
    values = [mean + voice.number(-4, 4) for _ in range(count - 1)]
    values.append(mean * count - sum(values))
    if values[-1] < 0:
        return averages(voice)
    what = voice.one(
        (
            "[the pages that {who} read on {n} evenings|how many pages {who} read in {n} days]",
            "[the eggs that {who}'s hens laid in {n} weeks|what {who}'s hens laid in {n} weeks]",
            "[the points that {who} scored in {n} games|{who}'s points in {n} games]",
            "[the visitors whom {who} counted on {n} mornings|{who}'s count of visitors on {n}"
            " days]",
        )
    )
    return [
        voice.text(
            f"The numbers {{values}} are {what}.",
            "[What is their average?|How many is that on average?]",
            values=listed([str(each) for each in values]),
            n=spelt(count),
            who=voice.one(PEOPLE),
        ),
        voice.text(
            "[The average, or mean, is the sum divided by how many numbers there are.|To find a"
            " mean, add the numbers and divide by their count.]",
            "{sum} = {total}, and {total} divided by {count} is {mean}.",
            "[If each of the numbers were {mean}, the sum would be the same.|The largest is {most}"
            " and the smallest is {least}; the mean lies [between them|in between].|Some are above"
            " the mean and some below it, unless all are equal.]",
            sum=" + ".join(map(str, values)),
            total=mean * count,
            count=count,
            mean=mean,
            most=max(values),
            least=min(values),
        ),
    ]


def factors(voice: Voice) -> list[str]:
    """Which numbers divide a number; whether it is prime."""
    number = voice.number(12, 97)
    found = [each for each in range(1, number + 1) if number % each == 0]
    prime = len(found) == 2
    return [
        voice.text(
            "[A factor of a number divides it without a remainder.|We say that one number is a"
            " factor of another if it goes into it with nothing left over.]",
            "[Which factors does {n} have?|Let us find all the factors of {n}.]",
            n=number,
        ),
        voice.text(
            "{n} is {parity}.",
            "[Trying one number after another|If we try them all], we find {found}.",
            "[Only 1 and {n} itself divide {n}, so {n} is a prime number.|{n} has exactly two"
            " factors; such a number is called prime.]"
            if prime
            else "[As {a} times {b} is {n}, it is not a prime number.|{n} has {count} factors and"
            " is therefore not prime: {a} x {b} = {n}.]",
            n=number,
            parity="even, so 2 is a factor" if number % 2 == 0 else "odd, so 2 is not a factor",
            found=listed([str(each) for each in found]),
            a=found[1],
            b=number // found[1],
            count=spelt(len(found)),
        ),
    ]


def order_of_operations(voice: Voice) -> list[str]:
    """Products before sums, brackets before all."""
    a, b, c = voice.number(2, 20), voice.number(2, 12), voice.number(2, 12)
    return [
        voice.text(
            "[What is {a} + {b} x {c}?|How much is {a} + {b} x {c}?]",
            "[Multiplication comes before addition|We multiply before we add], so we first find {b}"
            " x {c} = {bc}, and then {a} + {bc} = {right}.",
            "[Whoever adds first gets ({a} + {b}) x {c} = {other}, which is another number.|With"
            " brackets it is another sum: ({a} + {b}) x {c} is {ab} x {c}, that is {other}.]",
            "[Brackets say what is to be done first.|What stands in brackets is always done"
            " first.]",
            a=a,
            b=b,
            c=c,
            bc=b * c,
            ab=a + b,
            right=a + b * c,
            other=(a + b) * c,
        )
    ]


def rounding(voice: Voice) -> list[str]:
    """To the nearest ten and hundred."""
    number = voice.number(1001, 9989)
    ten, hundred = (number + 5) // 10 * 10, (number + 50) // 100 * 100
    return [
        voice.text(
            "[Sometimes a number need not be exact.|Often it is enough to know roughly how many.]",
            "[To round {n} to the nearest ten, look at the ones|Rounding to tens, we look at the"
            " last digit]: it is {digit}, so we round [{way}] to {ten}.",
            "[For the nearest hundred, the last two digits count|To the nearest hundred, look at"
            " the last two digits]: {two:02d} is {less} 50, so {n} becomes {hundred}.",
            "[A digit of 5 or more is rounded up, a smaller one down.|The rule is that 5 and more"
            " go up, and less than 5 goes down.]",
            n=number,
            digit=number % 10,
            way="up" if number % 10 >= 5 else "down",
            ten=ten,
            two=number % 100,
            less="not less than" if number % 100 >= 50 else "less than",
            hundred=hundred,
        )
    ]


def place_value(voice: Voice) -> list[str]:
    """What each digit stands for; a number in words."""
    number = voice.number(1023, 98765)
    digits = str(number)
    names = ["ones", "tens", "hundreds", "thousands", "ten thousands"][: len(digits)][::-1]
    said = [
        f"{digit} {name.removesuffix('s') if digit == '1' else name}"
        for digit, name in zip(digits, names, strict=True)
        if digit != "0"
    ]
    parts = [f"{int(d) * 10**p:,}" for p, d in enumerate(reversed(digits)) if d != "0"][::-1]
    return [
        voice.text(
            "[In words, {n} is {words}.|The number {n} is read as {words}.|We write {words} as"
            " {n}.]",
            "[Its digits stand for {said}.|It is made of {said}.]",
            "[Added up, {parts} = {n}.|So {n} = {parts}.]",
            "[There is a zero in it, which keeps a place where there is nothing.|The zero in it"
            " says that this place is empty.]"
            if "0" in digits
            else "",
            "[A digit is worth ten times as much one place further to the left.|Where a digit"
            " stands decides what it is worth.]",
            n=f"{number:,}",
            words=spelt(number),
            said=listed(said),
            parts=" + ".join(parts),
        )
    ]


def shopping(voice: Voice) -> list[str]:
    """What several things cost, and the change."""
    things = voice.some(THINGS, 2)
    counts, prices = [voice.number(2, 9) for _ in things], [voice.number(2, 15) for _ in things]
    costs = [count * price for count, price in zip(counts, prices, strict=True)]
    total = sum(costs)
    paid = (total // 10 + 2) * 10
    who = voice.one(PEOPLE)
    return [
        voice.text(
            "{who} buys {first} at {p} pounds each and {second} at {q} pounds each.",
            "[{who} pays with {paid} pounds.|At the till {who} hands over {paid} pounds.]",
            "How much [change does {who} get|money comes back]?",
            who=who,
            first=counted(counts[0], things[0], words=True),
            second=counted(counts[1], things[1], words=True),
            p=prices[0],
            q=prices[1],
            paid=paid,
        ),
        voice.text(
            "[First, the {a}|The {a}]: {n} times {p} is {x} pounds. [Then the {b}|The {b}]: {m}"
            " times {q} is {y} pounds.",
            "[Together that is|In all it comes to] {x} + {y} = {total} pounds.",
            "[From {paid} pounds, {change} pounds come back|The change is {paid} - {total} ="
            " {change} pounds].",
            a=plural(things[0]),
            b=plural(things[1]),
            n=counts[0],
            m=counts[1],
            p=prices[0],
            q=prices[1],
            x=costs[0],
            y=costs[1],
            total=total,
            paid=paid,
            change=paid - total,
        ),
    ]


def negative_numbers(voice: Voice) -> list[str]:
    """Below zero."""
    start, below = voice.number(2, 9), voice.number(2, 12)
    fall, end, rise = start + below, -below, voice.number(2, 15)
    if abs(end + rise) == 1:  # no single degrees, which would need other words
        rise += 3
    degrees = "[in the evening|at sunset|at noon]"
    return [
        voice.text(
            f"[The thermometer shows {{start}} degrees {degrees}|It is {{start}} degrees"
            f" {degrees}],"
            " and by [the morning|midnight|dawn] it is {fall} degrees colder.",
            "[How cold is it then?|What does the thermometer show now?]",
            "[From {start} down to zero are {start} degrees, and {below} more are still to go, so"
            " it is {end} degrees.|{start} - {fall} = {end}: the temperature has fallen below"
            " zero.]",
            "[Numbers below zero are called negative and are written with a minus sign.|A negative"
            " number lies on the other side of zero.]",
            "[If it then gets {rise} degrees warmer, it is {after} degrees.|Later it rises by"
            " {rise} degrees, to {after}.]",
            start=start,
            fall=fall,
            below=below,
            end=end,
            rise=rise,
            after=end + rise,
        )
    ]


def sequences(voice: Voice) -> list[str]:
    """How a row of numbers goes on."""
    start, step = voice.number(1, 30), voice.number(2, 13)
    doubling = voice.chance.random() < 0.3
    row = [start * 2**k if doubling else start + step * k for k in range(7)]
    return [
        voice.text(
            "[How does this row of numbers go on|What comes next]: {row}?",
            "[Compare each number with the one before it.|We look at how one number becomes the"
            " next.]",
            "[Each is twice the one before|The numbers double each time]: {b} is 2 times {a}, and"
            " {c} is 2 times {b}."
            if doubling
            else "[Each is {step} more than the one before|The step is always {step}]: {b} - {a} ="
            " {step}, and {c} - {b} = {step}.",
            "So the next number is {next}[, and then comes {after}|, after which {after} follows].",
            row=", ".join(map(str, row[:5])),
            a=row[0],
            b=row[1],
            c=row[2],
            step=step,
            next=row[5],
            after=row[6],
        )
    ]


LESSONS: tuple[Lesson, ...] = (
    addition,
    subtraction,
    multiplication,
    division,
    fractions,
    percentages,
    averages,
    factors,
    order_of_operations,
    rounding,
    place_value,
    shopping,
    negative_numbers,
    sequences,
)
