"""Lessons of computing: following small programs, lists, text, files and binary numbers."""

from __future__ import annotations

from pocketlm.recipe.demo.programs.lesson import Lesson, Voice, a, listed, ordinal, spelt, words

NAMES = words("total count limit width height size index value result step offset length price")
WORDS = words("lemon stone river table window garden paper silver bridge candle number letter")
COMMANDS = (  # command, what it does, option, what the option does
    ("ls", "lists the files of a directory", "-l", "shows their sizes and dates too"),
    ("ls", "lists the files of a directory", "-a", "shows hidden files as well"),
    ("cp", "copies files", "-r", "copies directories with all that is in them"),
    ("sort", "puts lines in order", "-r", "reverses the order"),
    ("sort", "puts lines in order", "-n", "compares numbers and not letters"),
    ("grep", "prints the lines that match a pattern", "-i", "ignores the case of letters"),
    ("grep", "prints the lines that match a pattern", "-v", "prints the lines that do not match"),
    ("wc", "counts lines, words and bytes", "-l", "prints the number of lines only"),
    ("head", "prints the first lines of a file", "-n", "says how many lines are printed"),
    ("tail", "prints the last lines of a file", "-f", "waits for more lines and prints them too"),
    ("mkdir", "makes a directory", "-p", "makes the directories above it too"),
    ("rm", "removes files", "-i", "asks before each of them"),
    ("uniq", "leaves out lines that repeat the line before", "-c", "says how often each was there"),
    ("du", "says how much room files take", "-h", "writes sizes in units that people read easily"),
)


def binary(voice: Voice) -> list[str]:
    """A number in twos."""
    number = voice.number(5, 250)
    bits = f"{number:b}"
    parts = [2**k for k, bit in enumerate(reversed(bits)) if bit == "1"][::-1]
    return [
        voice.text(
            "[Computers write numbers with two digits only, 0 and 1.|A binary number has only the"
            " digits 0 and 1.]",
            "[Each place is worth twice as much as the one to its right|From right to left, the"
            " places are worth 1, 2, 4, 8 and so on].",
            n=number,
        ),
        voice.text(
            "[How is {n} written in binary?|Let us write {n} in binary.]",
            "[Take the largest power of two that fits, and go on with the rest|{n} is made of"
            " powers of two]: {n} = {parts}.",
            "[So the binary number is {bits}.|Where a power is used, write 1, and otherwise 0:"
            " {bits}.]",
            "[It has {count} digits.|Its last digit is {last}, so {n} is {parity}.]",
            n=number,
            parts=" + ".join(map(str, parts)),
            bits=bits,
            count=spelt(len(bits)),
            last=bits[-1],
            parity="odd" if bits[-1] == "1" else "even",
        ),
    ]


def assignment(voice: Voice) -> list[str]:
    """Following the values of variables."""
    x, y = voice.some(NAMES, 2)
    start, add, times = voice.number(1, 30), voice.number(2, 15), voice.number(2, 6)
    grown = start + add
    return [
        voice.text(
            "[Follow this program line by line.|What does this program print?|Here is a short"
            " program.]"
        ),
        f"{x} = {start}\n{y} = {x} * {times}\n{x} = {x} + {add}\nprint({x}, {y})",
        voice.text(
            "[The first line gives {x} the value {start}.|At first {x} is {start}.]",
            "[Then {y} becomes {start} times {times}, which is {product}.|The second line"
            " multiplies: {y} is {product}.]",
            "[Now {x} is changed: {start} + {add} is {grown}.|In the third line {add} is added to"
            " {x}, which makes {grown}.]",
            "[{y} keeps its value, because it was computed before.|That does not change {y}: it"
            " holds a number, and not a rule.]",
            "[So {grown} and {product} are printed.|The program prints {grown} and {product}.]",
            x=x,
            y=y,
            start=start,
            add=add,
            times=times,
            product=start * times,
            grown=grown,
        ),
    ]


def loops(voice: Voice) -> list[str]:
    """How often a loop runs, and what it adds up to."""
    name, last, step = voice.one(NAMES), voice.number(3, 9), voice.number(1, 5)
    values = [step * k for k in range(1, last + 1)]
    return [
        voice.text(
            "[A loop does the same thing several times.|To repeat something, write a loop.]"
        ),
        f"{name} = 0\nfor number in range(1, {last + 1}):\n    {name} = {name} + {step} *"
        f" number\nprint({name})",
        voice.text(
            "[The variable number takes the values {numbers}|The loop runs {times} times, with"
            " number from 1 to {last}], as range leaves out its end.",
            "[In each round {adds}|Each time {adds}]; these are {values}.",
            "[The sum, and so what is printed, is {total}.|At the end {name} is {total}.]",
            numbers=listed([str(k) for k in range(1, last + 1)]),
            times=spelt(last),
            last=last,
            adds=f"{step} times number is added" if step > 1 else "number is added",
            values=listed([str(k) for k in values]),
            total=sum(values),
            name=name,
        ),
    ]


def lists(voice: Voice) -> list[str]:
    """Indices, length, appending."""
    items = voice.some(WORDS, voice.number(4, 6))
    place, added = (
        voice.number(0, len(items) - 1),
        voice.one([each for each in WORDS if each not in items]),
    )
    shown = "[" + ", ".join(f'"{each}"' for each in items) + "]"
    return [
        voice.text(
            "[A list keeps items in order.|Items in a list have an order, and each has an index.]",
            "[Take the list {shown}.|Suppose that words is {shown}.]",
            "It has {count} items.",
            shown=shown,
            count=spelt(len(items)),
        ),
        voice.text(
            '[Counting begins at 0|The first index is 0], so "{first}" has the index 0 and the'
            " last,"
            ' "{last}", has the index {end}.',
            '[What has the index {place}? It is the {nth} item, "{item}".|The index {place}'
            " belongs to"
            ' the {nth} item, "{item}".]',
            '[If "{added}" is appended, the list has {more} items.|Appending "{added}" puts it'
            " at the end, at the index {count}.]",
            "[An index of {beyond} would be an error.|There is nothing at the index {beyond}.]",
            first=items[0],
            last=items[-1],
            end=len(items) - 1,
            place=place,
            nth=ordinal(place + 1),
            item=items[place],
            added=added,
            beyond=len(items) + 5,
            more=spelt(len(items) + 1),
            count=len(items),
        ),
    ]


def conditionals(voice: Voice) -> list[str]:
    """Which branch is taken."""
    name, limit = voice.one(NAMES), voice.number(5, 60)
    value = limit + voice.number(-5, 5)
    above = value >= limit
    large, small = voice.one((("large", "small"), ("enough", "too little"), ("late", "early")))
    return [
        voice.text("[A condition decides which part of a program runs.|Programs can choose.]"),
        f'if {name} >= {limit}:\n    print("{large}")\nelse:\n    print("{small}")',
        voice.text(
            "[Let {name} be {value}.|Suppose that {name} is {value}.]",
            "[The condition asks whether {value} is at least {limit}|We ask: is {value} greater"
            " than or equal to {limit}], and that is {truth}.",
            '[So "{said}" is printed.|The program prints "{said}".]',
            "[At exactly {limit} the condition is true, because >= allows the two to be equal.|With"
            " > in place of >=, the value {limit} itself would count as {small}.]",
            name=name,
            value=value,
            limit=limit,
            truth="true" if above else "false",
            said=large if above else small,
            small=f'"{small}"',
        ),
    ]


def strings(voice: Voice) -> list[str]:
    """Letters of a word; joining."""
    word, other = voice.some(WORDS, 2)
    letter = voice.one(word)
    times = word.count(letter)
    return [
        voice.text(
            "[Text in a program is called a string.|A string is a row of characters.]",
            '[The string "{word}" has {count} characters|There are {count} letters in "{word}"]:'
            " {spelled}.",
            '[The letter "{letter}" occurs {often} in it.|In it, "{letter}" is there {often}.]',
            '[Backwards it reads "{back}".|Joined with "{other}" it gives "{both}".|Its first'
            " letter is"
            ' "{first}" and its last is "{last}".]',
            '[In capitals it is "{upper}", which is another string.|A space counts as a character'
            ' too.|"{word}" and "{upper}" are not equal, as case matters.]',
            word=word,
            count=spelt(len(word)),
            spelled=", ".join(word),
            letter=letter,
            often={1: "once", 2: "twice"}.get(times, f"{spelt(times)} times"),
            back=word[::-1],
            other=other,
            both=word + other,
            first=word[0],
            last=word[-1],
            upper=word.upper(),
        )
    ]


def searching(voice: Voice) -> list[str]:
    """Halving a sorted list."""
    values = sorted(voice.some(range(3, 99), voice.number(7, 11)))
    wanted = voice.one(values)
    low, high, steps = 0, len(values) - 1, []
    while low <= high:
        middle = (low + high) // 2
        seen = values[middle]
        if seen == wanted:
            steps.append(
                voice.say(
                    "[The middle is now {s}, and that is it.|Then we look at {s}: found.]", s=seen
                )
            )
            break
        side = "right" if seen < wanted else "left"
        steps.append(
            voice.say(
                "[In the middle is {s}, which is too {much}, so we go on to the {side} of it.|We"
                " compare with {s}: {w} is {than}, and only the {side} part is left.]",
                s=seen,
                w=wanted,
                much="small" if seen < wanted else "large",
                than="larger" if seen < wanted else "smaller",
                side=side,
            )
        )
        low, high = (middle + 1, high) if seen < wanted else (low, middle - 1)
    return [
        voice.text(
            "[In a sorted list we need not look at every item.|When a list is sorted, a value can"
            " be found quickly by halving.]",
            "[We look for {w} in {values}.|Is {w} among {values}?]",
            w=wanted,
            values=listed([str(each) for each in values]),
        ),
        " ".join(steps),
        voice.text(
            "[It took {n} to find it in a list of {count}.|With {n} we were done, and the list has"
            " {count} numbers.]",
            "[Each comparison halves what is left, so even a million items need about twenty.|A"
            " list that is twice as long needs only one comparison more.]",
            n="one comparison" if len(steps) == 1 else f"{spelt(len(steps))} comparisons",
            count=spelt(len(values)),
        ),
    ]


def commands(voice: Voice) -> list[str]:
    """What a command does with an option."""
    command, does, option, adds = voice.one(COMMANDS)
    name = voice.one(WORDS)
    return [
        voice.text(
            "[The command {command} {does}.|What does {command} do? It {does}.]",
            "[A word that begins with a hyphen is an option|Options change what a command does];"
            " with {option}, {command} {adds}.",
            '[So "{command} {option} {name}" means: {command} [is run|works] on {name}, and it'
            " {adds}.|In"
            ' "{command} {option} {name}", {command} is the command, {option} is an option,'
            " and {name} is what it works on.]",
            "[Without {option}, it only {does}.|Leave {option} out, and it just {does}.]"
            if option not in ("-n", "-v")
            else "",
            "[The words are separated by spaces.|Spaces separate the words of a command line.|The"
            " manual of a command lists all of its options.]",
            command=command,
            does=does,
            option=option,
            adds=adds,
            name=name,
        )
    ]


def paths(voice: Voice) -> list[str]:
    """The parts of a file's path."""
    folders, name = voice.some(WORDS, voice.number(2, 3)), voice.one(NAMES)
    ending = voice.one(("txt", "csv", "html", "py", "md"))
    kind = {
        "txt": "plain text",
        "csv": "table",
        "html": "web page",
        "py": "Python program",
        "md": "text with marks",
    }
    path = "/" + "/".join(folders) + f"/{name}.{ending}"
    return [
        voice.text(
            "[A path says where a file is.|Each file has a path, which leads to it from the top.]",
            "[Take the path {path}.|Look at {path}.]",
            "[Its parts are separated by slashes.|A slash stands between its parts.]",
            "[It begins at the top, goes into {way}, and ends with the name of the file,"
            " {file}.|The directories are {way}, one inside the other, and the file in the last is"
            " {file}.]",
            "[The ending {ending} tells that it is {kind}.|From the ending, {ending}, we see that"
            " it should be {kind}.]",
            "[A path that begins with a slash is absolute; one that does not is relative to where"
            " we are.|From within {last}, the relative path {file} is enough.]",
            path=path,
            way=listed(folders),
            file=f"{name}.{ending}",
            ending=ending,
            kind=a(kind[ending]) if ending not in ("txt", "md") else kind[ending],
            last=folders[-1],
        )
    ]


LESSONS: tuple[Lesson, ...] = (
    binary,
    assignment,
    loops,
    lists,
    conditionals,
    strings,
    searching,
    commands,
    paths,
)
