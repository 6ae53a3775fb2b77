"""Programs that a model wrote, judged by a benchmark's tests, in the sandbox and nowhere else.

It knows the code benchmarks' fields and what makes a program right; how a program is kept from
doing harm is the sandbox's matter.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lm_eval.tasks import TaskManager

from pocketlm.assistant import sandbox
from pocketlm.errors import ParameterError
from pocketlm.evaluate.harness.members import members

_FENCE = re.compile(r"```(?:python|py)?\n(.*?)(?:\n```|\Z)", re.DOTALL)
#: An answer that goes on inside a function: it begins with an indented line.
_GOES_ON = re.compile(r"\n*(?:  |\t)")
#: Where a function has ended that goes on without a fence: at the next line that is not its own.
_AFTER = re.compile(r"\n(?=[^\s)\]}])")
#: As long as the benchmarks' own judges wait, with time for an interpreter to start.
_LIMITS = sandbox.Limits(seconds=5.0)


def humaneval(row: Mapping[str, Any], written: Sequence[str]) -> dict[str, float]:
    """Whether the function whose beginning was the prompt passes `check` of the row's test.

    It may go on where the prompt ends, or stand whole in a fence, as chat models write it.
    """
    prompt, begin = row["prompt"], f"def {row['entry_point']}("
    fenced = None if _GOES_ON.match(written[0]) else _fenced(written[0])
    if fenced is None:
        function = prompt + _AFTER.split(written[0], maxsplit=1)[0]
    elif begin in fenced:
        function = prompt[: prompt.rfind(begin)] + fenced  # what it imports and calls stays
    else:
        function = prompt + fenced
    program = f"{function}\n\n{row['test']}\n\ncheck({row['entry_point']})\n"
    return {"pass@1": float(passes(program))}


def mbpp(row: Mapping[str, Any], written: Sequence[str]) -> dict[str, float]:
    """Whether the program, or what is fenced of it, passes every assertion of the row."""
    fenced = _fenced(written[0])
    answer = written[0] if fenced is None else fenced
    program = "\n".join([row["test_setup_code"], answer, *row["test_list"], ""])
    return {"pass@1": float(passes(program))}


def _fenced(text: str) -> str | None:
    """The first block between fences; to the end of the text where it was cut."""
    found = _FENCE.search(text)
    return found and found[1]


def passes(program: str) -> bool:
    """Whether a program (with its tests) runs to its end in the sandbox. Raises SandboxError."""
    # One that leaves early ends without an error too, but does not come to this line.
    word = secrets.token_hex(16)
    outcome = sandbox.run_python(f"{program}\nprint('\\n{word}')\n", _LIMITS)
    return outcome.code == 0 and outcome.output.endswith(f"\n{word}\n")


def check(manager: TaskManager, names: Iterable[str]) -> None:
    """Look before anything is loaded at whether the tasks would run a model's programs, and where.

    Raises ParameterError for tasks of the harness that would run them beside us, and SandboxError
    where tasks of ours need the sandbox and there is none.
    """
    tasks = members(manager, names)
    unsafe = [name for name, config in tasks.items() if config.get("unsafe_code")]
    if unsafe:
        raise ParameterError(
            f"{', '.join(unsafe)}: the harness would run what the model writes on this machine, "
            "unprotected; phi3_humaneval and phi3_mbpp run it in a sandbox"
        )
    if any((config.get("metadata") or {}).get("sandboxed") for config in tasks.values()):
        sandbox.check()
