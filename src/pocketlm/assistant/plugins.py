"""Tools of installed packages: what they offer through the entry point group `pocketlm.tools`.

An entry point names a function without arguments that returns Skills:

    [project.entry-points."pocketlm.tools"]
    weather = "weather_tools:skills"

A plugin is code that a person installed, and runs as ours does; it is imported when it is asked
for, and what fails in it is told of by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points

from pocketlm.assistant.tools.skill import Skill
from pocketlm.chat.tools import Toolbox
from pocketlm.errors import Error

GROUP = "pocketlm.tools"


def plugins() -> dict[str, list[EntryPoint]]:
    """The installed plugins by name, none of them imported; several where they share a name."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        found.setdefault(entry.name, []).append(entry)
    return found


def skills(entry: EntryPoint) -> list[Skill]:
    """The tools of a plugin, named PLUGIN.tool. Raises Error for a plugin that fails."""
    whose = f"plugin {entry.name} ({entry.value}{_package(entry)})"
    try:
        made = _made(entry.load())
        named = [
            replace(each, tool=replace(each.tool, name=f"{entry.name}.{each.tool.name}"))
            for each in made
        ]
        if named:
            Toolbox([each.tool for each in named]).constraint()
    except (Exception, SystemExit) as error:  # of code that is not ours
        raise Error(f"{whose} cannot be used: {type(error).__name__}: {error}") from error
    return named


def _made(function: Callable[[], Iterable[Skill]]) -> list[Skill]:
    made = list(function())
    for each in made:
        if not isinstance(each, Skill):
            raise TypeError(f"it returns a {type(each).__name__} where a Skill should be")
    return made


def _package(entry: EntryPoint) -> str:
    return f" of {entry.dist.name} {entry.dist.version}" if entry.dist is not None else ""
