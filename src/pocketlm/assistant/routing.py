"""Which tool a question plainly wants, found without a model: sums, units, dates, a named file.

Small models choose tools badly, and a question that a tool's own parser understands from its first
word to its last needs no choice. Anything else is left to the model. Knows forms of questions in
English; what is a sum or a date, the tools decide.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from pocketlm.assistant.tools import dates
from pocketlm.assistant.tools.expression import compute
from pocketlm.chat.tools import Call
from pocketlm.errors import ParameterError

#: Longest question that is looked at.
MOST_CHARACTERS = 300
#: Tools whose result is the answer, to the letter.
STATED = ("calculate", "date_time")

#: Files of text, by the ends of their names.
_FILE = re.compile(
    r"(?<![\w/.])((?:[\w-]+/)*[\w-][\w.-]*\.(?:txt|md|rst|csv|tsv|json|xml|html?|ya?ml|toml|ini|cfg"
    r"|log|tex|py|js|ts|c|h|cpp|java|go|rs|rb|sh|sql))(?![\w/])",
    re.IGNORECASE,
)

_POLITE = re.compile(
    r"^(?:(?:please|hi|hello|hey|ok|okay|so|now|quickly|can you|could you|would you|tell me"
    r"|find out|i need to know|do you know|help me|let me know|find|show me|give me)[,:]? +)+",
    re.IGNORECASE,
)
_ASKING = re.compile(
    r"^(?:what(?:'s| is| are| does| do| was| will be)?|how much(?: is| are)?|calculate|compute"
    r"|evaluate|work out|solve|convert|simplify|the (?:value|result|sum) of)\b[: ]*",
    re.IGNORECASE,
)
_ENDING = re.compile(
    r"(?: ?(?:equal(?: to)?|=|make|come to|please|exactly|thanks|thank you|for me))*[ ?.!=]*$",
    re.IGNORECASE,
)
_OPERATION = re.compile(r"[-+*/×÷^%!²³√]|\b[a-z]+\b", re.IGNORECASE)
_PLAIN = r"(?<![\w.,])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\d.])"
_UNIT = r"[a-zA-Z°]+(?:/[a-zA-Z]+)?"
_SMALL_WORDS = ("a", "an", "as", "at", "c", "d", "h", "in", "is", "m", "s", "t", "to")
_QUESTIONS = re.compile(r"\b(?:what|how|who|which|where|why|when)\b", re.IGNORECASE)
#: Within other words "24/7" and "9-5" are none.
_COMPUTES = re.compile(
    r"\s[-+*/×÷]\s|[%^²³√!]"
    r"|\b(?:plus|minus|times|multiplied|divided|per ?cent|squared|cubed|root|mod)\b",
    re.IGNORECASE,
)
_OPERATIONS = {
    "product": r"\1 * \2",
    "sum": r"\1 + \2",
    "difference": r"abs(\1 - \2)",
    "quotient": r"\1 / \2",
}
_HOW_MANY = re.compile(
    r"how (?:many|much) (?P<unit>[\w° ]+?) (?:are|is|make|do i get)?(?: there)? ?"
    r"(?:in|from|equal|make up|are|is) (?P<from>.+)",
    re.IGNORECASE,
)
_WEIGHS = re.compile(r"(?:express|write|give) (?P<from>.+?) (?P<into>(?:in|as) .+)", re.IGNORECASE)
_COUNTING = re.compile(r"\b(days|weeks|months|years)\b", re.IGNORECASE)
_WHEN = re.compile(r"\b(?:when|(?:what|which) (?:date|day))\b", re.IGNORECASE)
_EARLIER = re.compile(r"\b(?:before|earlier|ago|back)\b", re.IGNORECASE)
_COUNTED = r"how many (\w+) (?:are there |are |is it |left |have passed |passed |have gone by )?"
_DAY = "(?:day of the week|weekday|day)"
#: Questions of dates, and the expressions of `dates.py` that answer them.
_DATE_FORMS = [
    (re.compile(pattern, re.IGNORECASE), form)
    for pattern, form in (
        (rf"{_COUNTED}((?:between|until|till|since|from) .+)", r"\1 \2"),
        (r"how long (?:is it )?(?:until|till) (.+)", r"days until \1"),
        (
            rf"(?:on )?(?:what|which) {_DAY} (?:is|was|will|does|did|do|falls on)"
            r" (.+?)(?: fall on| fall| be on| be| on)?",
            r"weekday of \1",
        ),
        (
            r"(?:what(?:'s| is)? |which )?(?:the )?(?:date|day) (?:is |will it be |was it )?"
            r"((?:.+ (?:after|before|from) |in ).+|.+ ago)",
            r"\1",
        ),
        (r"what (?:date|day) (?:is|was|will be) (.+ [-+] .+)", r"\1"),
        (
            r"what(?:'s| is) (?:the |the current |current )(?:date|time)(?: and time)?"
            r"(?: now| today)?",
            "now",
        ),
        (r"what (?:time|day|date) is it(?: now| today)?", "now"),
        (r"what(?:'s| is) today(?:'s date)?", "today"),
    )
]


def propose(question: str, tools: Collection[str]) -> Call | None:
    """The call of one of these tools that a question wants; None leaves it open."""
    said = " ".join(question.split())
    if not said or len(said) > MOST_CHARACTERS:
        return None
    said = _POLITE.sub("", said)
    said = _ENDING.sub("", said, count=1)
    if "date_time" in tools and (expression := _date(said)) is not None:
        return Call("date_time", json.dumps({"expression": expression}, ensure_ascii=False))
    if "calculate" in tools and (expression := _sum(said)) is not None:
        return Call("calculate", json.dumps({"expression": expression}, ensure_ascii=False))
    if "read_file" in tools and (named := _FILE.search(question)):
        return Call("read_file", json.dumps({"path": named[1]}, ensure_ascii=False))
    return None


def _date(said: str) -> str | None:
    for pattern, form in _DATE_FORMS:
        if (match := pattern.fullmatch(said)) and _is_date(expression := match.expand(form)):
            return expression
    if (embedded := _embedded_date(said)) is not None:
        return embedded
    bare = _ASKING.sub("", said)
    plain = re.search(r"\d{4}-\d|\d{4}$|\b(?:after|before|from|between)\b", bare)
    return bare if plain and re.search(r"\d", bare) and _is_date(bare) else None


def _embedded_date(said: str) -> str | None:
    """Two dates, days asked for; or a date and a stretch of time, and the day asked for."""
    days = dates.dates_in(said)
    stretches = dates.stretches_in(said)
    if len(days) == 2 and not stretches and (unit := _COUNTING.search(said)):
        return f"{unit[1]} between {days[0]} and {days[1]}"
    if len(days) == 1 and len(stretches) == 1 and _WHEN.search(said):
        return f"{days[0]} {'-' if _EARLIER.search(said) else '+'} {stretches[0]}"
    return None


def _is_date(expression: str) -> bool:
    try:
        dates.evaluate(expression)
    except ParameterError:
        return False
    return True


def _sum(said: str) -> str | None:
    if dates.dates_in(said):
        return None
    for name, form in _OPERATIONS.items():
        spoken = rf"\b(?:the )?{name} (?:of|between) ({_PLAIN}) and ({_PLAIN})"
        said = re.sub(spoken, form, said, flags=re.IGNORECASE)
    candidates = [_ASKING.sub("", said)]
    for pattern, form in ((_HOW_MANY, r"\g<from> in \g<unit>"), (_WEIGHS, r"\g<from> \g<into>")):
        if match := pattern.fullmatch(said):
            candidates.append(match.expand(form))
    for candidate in candidates:
        # "an hour" is one.
        text = re.sub(r"^(?:an?|one) (?=[a-z])", "1 ", candidate, flags=re.IGNORECASE)
        if _OPERATION.search(text) and _is_sum(text):
            return text
    if len(_QUESTIONS.findall(said)) != 1:
        return None
    return _embedded_sum(said) or _embedded_conversion(said)


def _is_sum(text: str) -> bool:
    """Whether a text is an expression that asks something: "42" and "5 km" do not."""
    if not re.search(r"\d", text) or re.fullmatch(r"[\d.,]+ *[a-z°]*", text, re.IGNORECASE):
        return False
    try:
        compute(text)
    except ParameterError:
        return False
    return True


def _embedded_sum(said: str) -> str | None:
    """The longest part of a question that is an expression, if all its numbers stand in it."""
    numbers = [match.span() for match in re.finditer(_PLAIN, said)]
    if not numbers:
        return None
    words = [match.span() for match in re.finditer(r"\S+", said)]
    begins = [begin for begin, _ in words if begin <= numbers[0][0]]
    ends = [end for _, end in reversed(words) if end >= numbers[-1][1]]
    for begin in begins:
        for end in ends:
            text = said[begin:end].strip(" ,:?")
            if not _QUESTIONS.search(text) and _COMPUTES.search(text) and _is_sum(text):
                return text
    return None


def _embedded_conversion(said: str) -> str | None:
    """A quantity and another unit of its dimension, in a question."""
    quantities = re.findall(rf"({_PLAIN}) ?({_UNIT})", said)
    if len(quantities) != 1 or len(re.findall(_PLAIN, said)) != 1:
        return None
    number, unit = quantities[0]
    rest = said.replace(f"{number} {unit}", "", 1)
    for word in re.findall(_UNIT, rest)[::-1]:
        text = f"{number} {unit} in {word}"
        if word != unit and word.lower() not in _SMALL_WORDS and _is_sum(text):
            return text
    return None
