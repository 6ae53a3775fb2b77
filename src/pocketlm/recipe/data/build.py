"""`pocketlm data build`: a recipe carried out in a folder, and carried on after any end.

The folder keeps the recipe and the list of source files that it was begun with. It knows the
folder; jobs know what is done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pocketlm.errors import ParameterError
from pocketlm.formats.output import new_file, writing
from pocketlm.recipe.data import recipe
from pocketlm.recipe.data.executors import Kind, run, submit
from pocketlm.recipe.data.plan import JOBS, jobs_of
from pocketlm.recipe.data.readers import files_of

STATE = "build.json"


def build(
    wanted: recipe.Recipe, out: Path, kind: Kind, workers: int, tell: Callable[[str], None]
) -> str | None:
    """Make what is `wanted` in the folder `out`, or go on with it.

    Returns the number of the last job where jobs were only submitted. Raises ParameterError where
    `out` is of another recipe, or in use; Error for a task that fails.
    """
    if kind == "slurm" and wanted.slurm is None:
        raise ParameterError("slurm: is missing in the recipe: which partition jobs go to")
    jobs = jobs_of(wanted, out)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            _begin(wanted, out)
            if kind == "slurm":
                assert wanted.slurm is not None
                return submit(jobs, out / JOBS, wanted.slurm, workers)
            run(jobs, out / JOBS, kind, workers, tell)
    except Timeout:
        raise ParameterError(f"{out}: is being built by another process") from None
    return None


def _begin(wanted: recipe.Recipe, out: Path) -> None:
    """Note what is built; or see that it is the same, and remove what a killed build left."""
    state = json.loads(json.dumps(_state(wanted)))
    path = out / STATE
    if path.exists():
        _compare(json.loads(path.read_text("utf-8")), state, out)
        for part in out.rglob(".*.part"):
            part.unlink()
        return
    if any(each.name != ".lock" for each in out.iterdir()):
        raise ParameterError(f"{out}: is not empty, and no build; name another folder by --out")
    with new_file(path) as file:
        file.write(json.dumps(state, indent=1).encode() + b"\n")


def _state(wanted: recipe.Recipe) -> dict[str, Any]:
    """What a build's result depends on."""
    files = {}
    for number, source in enumerate(wanted.sources):
        if isinstance(source, recipe.Hub):
            continue
        folder = source.path if source.path.is_dir() else source.path.parent
        found = [(name, (folder / name).stat().st_size) for name in files_of(source)]
        digest = hashlib.sha256(json.dumps(found).encode()).hexdigest()
        files[f"source {number + 1}"] = {
            "files": len(found),
            "bytes": sum(size for _, size in found),
            "names and sizes": digest,
        }
    fields = wanted.model_dump(mode="json", exclude={"slurm"})
    made_with = {"tokenizer": wanted.shards.file} if wanted.shards else {}
    for step in wanted.stages:
        if isinstance(step, recipe.Quality):
            made_with["classifier"] = step.classifier / "classifier.json"
    digests = {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in made_with.items()
    }
    return {"recipe": fields, "files": files, "made with": digests}


def _compare(before: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    for about in ("recipe", "files", "made with"):
        names = {*before[about], *now[about]}
        other = sorted(name for name in names if before[about].get(name) != now[about].get(name))
        if other:
            raise ParameterError(
                f"{out}: was begun with other {', '.join(other)}; "
                "name another folder by --out, or remove this one"
            )
