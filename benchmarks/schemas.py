"""Answers of a real model by random schemas, judged by an independent validator.

Schemas are the tests' (tests/engine/random_schemas.py), one for each number from 0 on; one in five
has a keyword that cannot be enforced, and must be refused by its name. Of the other answers, those
that come to their end within --tokens must be valid. Exits 1 where one is not.

    python benchmarks/schemas.py MODEL.gguf --count 1000
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path

import jsonschema

import pocketlm
from pocketlm.errors import ParameterError

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "engine"))
import random_schemas as schemas


def main() -> None:
    """Generate, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--count", type=int, default=1000, help="answers")
    parser.add_argument("--start", type=int, default=0, help="the first schema's number")
    parser.add_argument("--tokens", type=int, default=200, help="most of an answer")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    finished = cut = refused = wrong = tokens = 0
    began = time.perf_counter()
    with pocketlm.load(Path(args.model), threads=args.threads) as model:
        number = args.start
        while finished + cut < args.count:
            rng = random.Random(number)
            given = schemas.schema(rng, refused=rng.random() < 0.2)
            keyword = given.get("title")
            question = [{"role": "user", "content": "Write an example as JSON."}]
            options = {"temperature": 1.0, "seed": number, "max_tokens": args.tokens}
            try:
                answer = model.chat(question, schema=given, **options)
            except ParameterError as error:
                if keyword is None or repr(keyword) not in str(error):
                    wrong += 1
                    print(f"schema {number}: {error}")
                refused += 1
            else:
                tokens += answer.completion_tokens
                if answer.finish_reason == "stop":
                    finished += 1
                    try:
                        jsonschema.Draft202012Validator(given).validate(json.loads(answer.text))
                    except (ValueError, jsonschema.ValidationError) as error:
                        wrong += 1
                        print(f"schema {number}: {answer.text!r}: {error}")
                else:
                    cut += 1
                if keyword is not None:
                    wrong += 1
                    print(f"schema {number}: {keyword!r} was not refused")
            number += 1
    print(
        f"{number - args.start:,} schemas: {refused:,} refused by name, {finished:,} answers"
        f" finished, {cut:,} cut at {args.tokens} tokens, {wrong} wrong;"
        f" {tokens:,} tokens in {time.perf_counter() - began:.0f} s"
    )
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
