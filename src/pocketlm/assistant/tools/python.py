"""The tool `run_python`: a short program, run in the sandbox or not at all.

Knows what the model is told of a run. `sandbox.py` keeps the program in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pocketlm.assistant import sandbox
from pocketlm.assistant.sandbox import Limits, Outcome
from pocketlm.assistant.tools.skill import Skill
from pocketlm.chat.tools import Tool

MOST_CHARACTERS = 20_000


def skills(limits: Limits = Limits()) -> list[Skill]:  # noqa: B008 (frozen)
    """The tool. Raises SandboxError where there is no sandbox."""
    sandbox.check()
    code = {
        "type": "string",
        "minLength": 1,
        "maxLength": MOST_CHARACTERS,
        "description": "a whole program; what it prints is the result",
    }
    tool = Tool(
        "run_python",
        f"Runs a Python program for up to {limits.seconds:g} seconds, without network and files,"
        " and tells what it printed.",
        {"properties": {"code": code}, "required": ["code"]},
    )

    def run(arguments: Mapping[str, Any]) -> str:
        return told(sandbox.run_python(arguments["code"], limits), limits)

    return [Skill(tool, run, effects=True)]


def told(outcome: Outcome, limits: Limits) -> str:
    """What came of a run, for the model."""
    parts = [outcome.output.rstrip("\n")] if outcome.output.strip() else []
    if outcome.errors.strip():
        parts.append(f"standard error:\n{outcome.errors.rstrip()}")
    if outcome.stopped == "time":
        parts.append(f"It was ended after {limits.seconds:g} seconds.")
    elif outcome.stopped == "output":
        parts.append(f"It was ended after {limits.output:,} bytes of output.")
    elif outcome.code:
        how = f"exit code {outcome.code}" if outcome.code > 0 else f"signal {-outcome.code}"
        parts.append(f"It ended with {how}.")
    return "\n".join(parts) or "It printed nothing."
