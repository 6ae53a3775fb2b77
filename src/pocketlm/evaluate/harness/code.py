"""Programs that a model wrote, judged by a benchmark's tests, in the sandbox and nowhere else.

It knows the code benchmarks' fields and what makes a program right; how a program is kept from
doing harm is the sandbox's matter.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lm_eval.tasks import TaskManager

from pocketlm.assistant import sandbox
from pocketlm.errors import ParameterError
from pocketlm.evaluate.harness.members import members

#: As long as the benchmarks' own judges wait, with time for an interpreter to start.
_LIMITS = sandbox.Limits(seconds=5.0)


def humaneval(row: Mapping[str, Any], written: Sequence[str]) -> dict[str, float]:
    """Whether the function whose beginning was the prompt passes `check` of the row's test."""
    program = f"{row['prompt']}{written[0]}\n\n{row['test']}\n\ncheck({row['entry_point']})\n"
    return {"pass@1": float(passes(program))}


def mbpp(row: Mapping[str, Any], written: Sequence[str]) -> dict[str, float]:
    """Whether the program passes every assertion of the row."""
    program = "\n".join([row["test_setup_code"], written[0], *row["test_list"], ""])
    return {"pass@1": float(passes(program))}


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
