"""Fuzz constraints: schemas, regular expressions and grammars with faults, and texts by them.

An input is a letter for the kind and a source. Whatever it is, it compiles or fails with an error,
soon; and what compiles lets a text be written, token by token, without ever failing otherwise.
"""

import json
import re
from collections.abc import Sequence

import driver

from pocketlm.engine.constraint import Compiler, from_grammar, from_regex, from_schema
from pocketlm.errors import ParameterError

END = 256
STEPS = 20
COMPILER = Compiler([bytes([byte]) for byte in range(256)], lambda text: list(text.encode()), 257)
MAKE = {"s": from_schema, "r": from_regex, "g": from_grammar}


def target(data: bytes) -> None:
    """Compile, and write a text."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ParameterError("not UTF-8") from None
    make = MAKE.get(text[:1])
    if make is None:
        raise ParameterError("no kind")
    matcher = COMPILER.matcher(make(text[1:]), frozenset({END}))
    choice = sum(data)
    for _ in range(STEPS):
        if matcher.finished:
            break
        matcher.forced()
        allowed = matcher.allowed().nonzero()[0]
        token = int(allowed[choice % len(allowed)]) if len(allowed) else END
        if token == END:
            break
        matcher.advance(token)


SCHEMAS = (
    {"type": "object", "properties": {"a": {"type": "string", "pattern": "^[a-z]+$"}}},
    {"$ref": "#/$defs/n", "$defs": {"n": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/n"}]}}},
    {"type": "array", "items": {"type": "integer", "minimum": -3, "maximum": 900}, "minItems": 2},
    {"allOf": [{"type": "number", "multipleOf": 0.5}, {"exclusiveMaximum": 7}]},
    {"oneOf": [{"const": 1}, {"type": "string", "format": "date-time", "maxLength": 40}]},
    {"patternProperties": {"^x-": {"enum": [1, "b", None, [2]]}}, "additionalProperties": False},
    {"type": ["object", "string"], "required": ["q"], "minProperties": 1, "maxProperties": 3},
)
REGEXES = ("(yes|no), [a-z ]{3,40}\\.", "^\\d{3}-\\d+$", '[^\\n"]*', "(?i)a+?b*|c{2,}", "\\p{L}")
GRAMMARS = (
    'start: a " " B\na: "x" | a "y"\nB: /[0-9]+/\n%ignore " "',
    'root ::= "{" (pair ("," pair)*)? "}"\npair ::= [a-z]+ ":" [0-9]',
    "start: A{2,5} | b~3\nA: /[a-c]/ & ~/b/\nb[capture, max_tokens=5]: /.*/",
    'start: %regex { "substring_words": "one two three" }',
    "%import common.INT\nstart: INT <[1-5]>\n",
)
PIECES = (
    *(b'"not":{},', b'"anyOf":[{}],', b'"$ref":"#",', b'"items":', b'{"type":"string"}', b"{0,}"),
    *(b"{1000}", b"(?:", b"(?=", b"\\1", b"[^", b"%json {}", b"%lark {", b"~", b"&", b"::=", b"|"),
    *(b'"\\u0000"', b"/.*/", b"start:", b"<|end|>", b"<[0-9]>", b"@sub", b"1e999", b"-0", b"{9,1}"),
)


def put_piece(
    rng: driver.Random, data: bytearray, seed: driver.Seed, seeds: Sequence[driver.Seed]
) -> None:
    """Put a piece of a source between two others."""
    places = [match.start() for match in re.finditer(rb"[\[{(\"|: ]", data)] + [len(data)]
    place = rng.choice(places)
    data[place:place] = rng.choice(PIECES)


SEEDS = tuple(
    driver.Seed(source.encode())
    for source in (
        *(f"s{json.dumps(schema)}" for schema in SCHEMAS),
        *(f"r{regex}" for regex in REGEXES),
        *(f"g{grammar}" for grammar in GRAMMARS),
    )
)

if __name__ == "__main__":
    # A seed may use what this version of the library does not know: it is still one to begin with.
    known = []
    for seed in SEEDS:
        try:
            target(seed.data)
        except ParameterError:
            continue
        known.append(seed)
    assert len(known) > len(SEEDS) // 2
    driver.main("constraint", target, known, (*driver.MUTATIONS, put_piece, put_piece))
