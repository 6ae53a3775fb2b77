"""Which tasks the names that a user gives come to: groups, tags and files followed to their tasks.

Nothing is built and no data is loaded, so that what cannot be run is known before anything is. It
knows the harness's index of tasks; it does not know what a task does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lm_eval.tasks import TaskManager
from lm_eval.tasks._factory import GROUP_FIELD_NAMES
from lm_eval.tasks._index import Kind, TaskIndex
from lm_eval.tasks._yaml_loader import load_yaml

#: A task's configuration as in its file, functions as their names.
Config = Mapping[str, Any]


def members(manager: TaskManager, names: Iterable[str]) -> dict[str, Config]:
    """Each task that the names come to, by its name; names that nobody knows come to nothing."""
    return {task: config for name in names for task, config in _named(manager, name, {})}


def _named(manager: TaskManager, name: str, above: Config) -> Iterator[tuple[str, Config]]:
    """What a name comes to; what groups `above` say of their members has the last word."""
    entry = manager.task_index.get(name) or TaskIndex.entry_from_path(Path(name))
    if entry is None:
        return
    if entry.kind is Kind.TAG:
        for task in sorted(entry.tags):
            yield from _named(manager, task, above)
        return
    config = entry.cfg or load_yaml(entry.yaml_path, resolve_func=False)
    if entry.kind is Kind.GROUP:
        yield from _group(manager, config, above)
    else:
        yield entry.name, {**config, **above}


def _group(manager: TaskManager, group: Config, above: Config) -> Iterator[tuple[str, Config]]:
    said = {key: group[key] for key in group if key not in GROUP_FIELD_NAMES}
    inside = {**said, **above}
    listed = group.get("task") or []
    for member in [listed] if isinstance(listed, str) else listed:
        if isinstance(member, str):
            yield from _named(manager, member, inside)
            continue
        name = member.get("group") or member["task"]
        own = {**inside, **{key: member[key] for key in member if key not in ("group", "task")}}
        if name in manager.task_index:
            yield from _named(manager, name, own)
        elif "group" in member:
            yield from _group(manager, member, inside)
        else:
            yield f"{group['group']}::{name}", own
