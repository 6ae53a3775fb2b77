"""Scripts that print numbers: run, and compared with what should be there."""

import pytest

from pocketlm.assistant import sandbox
from pocketlm.errors import SandboxError
from pocketlm.evaluate.probes.numbers import PROBE
from pocketlm.evaluate.probes.probe import Variant
from pocketlm.evaluate.probes.programs import BLOCK


@pytest.fixture(scope="module", autouse=True)
def available():
    try:
        sandbox.check()
    except SandboxError as error:
        pytest.skip(str(error))


def variant(output: str) -> Variant:
    return Variant(0, [{"role": "user", "content": "?"}], {"output": output}, "", BLOCK)


HUNDRED = variant("\n".join(map(str, range(1, 101))))
COMMAS = variant(", ".join(map(str, range(1, 11))))
LABELS = variant("\n".join(f"Number: {n}" for n in range(3, 9)))


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (HUNDRED, "```python\nfor i in range(1, 101):\n    print(i)\n```"),
        (HUNDRED, "Sure! Here is it:\n\n```py\nprint(*range(1, 101), sep='\\n')\n```\nEnjoy!"),
        (HUNDRED, "for i in range(1, 101): print(i)"),
        (HUNDRED, "```\ni = 1\nwhile i <= 100:\n  print(i, ' ')\n  i += 1\n```"),
        (COMMAS, "```python\nprint(', '.join(str(n) for n in range(1, 11)))\n```"),
        (LABELS, "```python\nfor n in range(3, 9): print(f'Number: {n}')\n```"),
    ],
)
def test_what_prints_as_asked_passes(asked, answer):
    verdict = PROBE.judge(asked, answer)
    assert verdict.passed, verdict.why


@pytest.mark.parametrize(
    ("asked", "program", "least", "most", "word"),
    [
        (HUNDRED, "for i in range(1, 100): print(i)", 0.6, 0.7, "off by one"),
        (HUNDRED, "for i in range(0, 101): print(i)", 0.6, 0.7, "off by one"),
        (HUNDRED, "for i in range(1, 101): print(i, end=' ')", 0.8, 0.9, "blanks and lines"),
        (HUNDRED, "print(list(range(1, 101)))", 0.7, 0.7, "form is another"),
        (HUNDRED, "for i in range(100, 0, -1): print(i)", 0.4, 0.4, "wrong order"),
        (HUNDRED, "for i in range(1, 51): print(i)", 0.3, 0.5, "50 of 100"),
        (HUNDRED, "for i in range(1, 101): print(i)\n1/0", 0.85, 0.95, "ZeroDivisionError"),
        (COMMAS, "for i in range(1, 11): print(i, end=',')", 0.7, 0.7, "form is another"),
        (LABELS, "for n in range(3, 9): print(n)", 0.7, 0.7, "form is another"),
    ],
)
def test_what_is_nearly_right_counts_in_part(asked, program, least, most, word):
    verdict = PROBE.judge(asked, f"```python\n{program}\n```")
    assert least <= round(verdict.score, 3) <= most, verdict.why
    assert word in verdict.why


@pytest.mark.parametrize(
    ("program", "word"),
    [
        ("print('Hello, world!')", "no numbers"),
        ("x = 5", "nothing"),
        ("def numbers():\n    for i in range(1, 101):\n        print(i)", "nothing"),
        ("for i in range(1, 101) print(i)", "SyntaxError"),
        ("while True: pass", "time"),
        ("while True: print(1)", "output"),
        ("n = int(input())\nprint(n)", "EOFError"),
        ("print(7, 8, 9, 12345678901234567890123)", "3 of 100"),
        ("print('1' * 30000)", "no numbers"),
    ],
)
def test_what_prints_something_else_counts_next_to_nothing(program, word):
    verdict = PROBE.judge(HUNDRED, f"```python\n{program}\n```")
    assert verdict.score <= 0.1
    assert word in verdict.why


def test_the_numbers_themselves_are_no_script():
    assert PROBE.judge(HUNDRED, "1, 2, 3 and so on up to 100").score == 0
    assert PROBE.judge(HUNDRED, "\n".join(map(str, range(1, 101)))).score <= 0.1


def test_what_is_asked_for_is_what_is_compared():
    """The output of each variant, made again from its question alone."""
    for found in PROBE.variants(5, 60):
        question = str(found.messages[0]["content"])
        numbers = found.facts["output"]
        if "even" in question and "square" not in question:
            assert all(int(n.split()[-1]) % 2 == 0 for n in numbers.splitlines() if n[-1].isdigit())
        if "descending" in question and "line of its own" in question:
            lines = [line.replace("Number:", "").replace("*", "") for line in numbers.splitlines()]
            first = [int(line.split()[0]) for line in lines]
            assert first == sorted(first, reverse=True)
        assert ("one line" in question) == ("\n" not in numbers) or numbers.isdigit()
