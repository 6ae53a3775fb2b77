"""A YAML file into a checked object; what is wrong with it is said by line and field.

It knows YAML and pydantic. It does not know what any field means.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pocketlm.errors import ParameterError

Form = TypeVar("Form", bound=BaseModel)


def read(path: Path, form: type[Form]) -> Form:
    """Read the YAML file at `path` into a `form`, whose validators may raise ValueError.

    Validators find the folder that the file is in as `info.context["folder"]`.

    Raises ParameterError that names the line and the field: for a file that is missing or no YAML,
    a field that is unknown, missing, given twice or of another type.
    """
    import yaml

    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ParameterError(f"{path}: is not a text file in UTF-8") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            raise ParameterError(f"{path}: is empty")
        _refuse_twice(path, root)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ParameterError(f"{path}, line {line}: no YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ParameterError(f"{path}: no YAML: {error}") from None
    if not isinstance(values, dict):
        raise ParameterError(f"{path}, line 1: must be fields with values, as `name: value`")
    try:
        return form.model_validate(values, context={"folder": path.absolute().parent})
    except ValidationError as error:
        raise ParameterError(_first(path, root, error)) from None


def _first(path: Path, root: object, error: ValidationError) -> str:
    """What is wrong, where it is, and how many more there are: fields that are misspelt first."""
    found = error.errors(include_url=False)
    first = min(found, key=lambda each: each["type"] != "extra_forbidden")
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        said = "there is no such field"
    elif first["type"] == "missing":
        said = "is missing"
    line, field = _place(root, first["loc"], missing=first["type"] == "missing")
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{path}, line {line}: {field}: {said}{more}" if field else f"{path}: {said}{more}"


def _place(root: object, location: Sequence[str | int], missing: bool) -> tuple[int, str]:
    """The line that a field is in, or would be, and its name; pydantic's own steps are left out."""
    import yaml

    node, line, names = root, 1, []
    for number, step in enumerate(location):
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value}
            if step in pairs:
                key, node = pairs[step]
                line = key.start_mark.line + 1
                names.append(str(step))
            elif missing and number == len(location) - 1:
                names.append(str(step))
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            line = node.start_mark.line + 1
            names.append(str(step + 1))
    return line, ".".join(names)


def _refuse_twice(path: Path, root: object) -> None:
    """Raise for a key that a mapping has twice: YAML's readers would take the last, silently."""
    import yaml

    pending, looked_at = [root], set()
    while pending:
        node = pending.pop()
        if id(node) in looked_at:  # an alias, perhaps of what it is in
            continue
        looked_at.add(id(node))
        if isinstance(node, yaml.MappingNode):
            names = set()
            for key, value in node.value:
                name = str(key.value)
                if name in names:
                    line = key.start_mark.line + 1
                    raise ParameterError(f"{path}, line {line}: {name}: is there twice")
                names.add(name)
                pending.append(value)
        elif isinstance(node, yaml.SequenceNode):
            pending.extend(node.value)
