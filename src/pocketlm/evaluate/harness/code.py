"""Programs that a model wrote, judged by a benchmark's tests, in the sandbox and nowhere else.

It knows the code benchmarks' fields and what makes a program right; how a program is kept from
doing harm is the sandbox's matter.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import Kind

from pocketlm.assistant import sandbox
from pocketlm.errors import ParameterError

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

    Groups and tags are followed; names that the manager does not know are left to it. Raises
    ParameterError for tasks of the harness that would run them beside us, and SandboxError where
    tasks of ours need the sandbox and there is none.
    """
    tasks = dict(_tasks(manager, names))
    unsafe = [name for name, config in tasks.items() if config.get("unsafe_code")]
    if unsafe:
        raise ParameterError(
            f"{', '.join(unsafe)}: the harness would run what the model writes on this machine, "
            "unprotected; phi3_humaneval and phi3_mbpp run it in a sandbox"
        )
    if any((config.get("metadata") or {}).get("sandboxed") for config in tasks.values()):
        sandbox.check()


def _tasks(manager: TaskManager, names: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each task that the names come to, and its configuration, functions as their names."""
    for name in names:
        entry = manager.task_index.get(name)
        if entry is None:
            continue
        if entry.kind is Kind.TAG:
            yield from _tasks(manager, sorted(entry.tags))
        elif entry.kind is Kind.GROUP:
            yield from _members(manager, (entry.cfg or {}).get("task") or [])
        else:
            yield name, entry.cfg or {}


def _members(
    manager: TaskManager, members: str | Sequence[str | dict[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for member in [members] if isinstance(members, str) else members:
        if isinstance(member, str):
            yield from _tasks(manager, [member])
            continue
        name = member.get("group") or member["task"]
        if name in manager.task_index:
            yield from _tasks(manager, [name])
        elif "group" in member:
            yield from _members(manager, member.get("task") or [])
        else:
            yield name, member
