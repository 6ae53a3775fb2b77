"""Where the benchmarks' items come from: a folder of local files, or the hub through its cache.

Every task of the harness loads its data in one place; `local` stands there while tasks are built.
It knows datasets, splits and files; it does not know what an item means.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import datasets
import httpx
import pyarrow
import pyarrow.parquet
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from pocketlm.errors import ParameterError
from pocketlm.evaluate.harness.members import Config, members

#: What `datasets` raises where a data set cannot be had: it has no one class for it.
_UNREACHED = (OSError, ValueError, httpx.HTTPError, datasets.exceptions.DatasetsError)


@contextmanager
def local(folder: Path | None) -> Iterator[None]:
    """While the block runs, tasks that are built (`TaskManager.load`) take their data from here.

    A split of a data set is `FOLDER/OWNER__NAME/CONFIG/SPLIT.jsonl` (or `.parquet`), in the hub's
    fields; without a configuration, `FOLDER/OWNER__NAME/SPLIT.jsonl`. The hub's repositories serve
    as they are: `hf download OWNER/NAME --repo-type dataset --local-dir FOLDER/OWNER__NAME`.
    With no folder, data comes from the hub, or from its cache when offline.
    Raises ParameterError where a split that a task wants is missing, or is not of this form: it
    says what to place where.
    """
    if folder is not None and not folder.is_dir():
        raise ParameterError(f"--data {folder}: there is no such folder")
    original = ConfigurableTask.download

    def download(task: ConfigurableTask, *arguments: object, **named: object) -> None:
        if callable(task.config.custom_dataset):  # made by the task, not loaded
            original(task, *arguments, **named)
        elif folder is None:
            _from_hub(task, lambda: original(task, *arguments, **named))
        else:
            task.dataset = _Splits(task, folder)

    ConfigurableTask.download = download
    try:
        yield
    finally:
        ConfigurableTask.download = original


def require(manager: TaskManager, names: Iterable[str], folder: Path | None) -> None:
    """Look before anything is loaded at whether a folder holds what all the tasks want.

    Raises ParameterError, which says what to place of every data set, and which tasks lack nothing.
    Tasks that take their data in ways of their own are left to `local`.
    """
    if folder is None:
        return
    lacking: list[str] = []
    whole: list[str] = []
    files: list[Path] = []
    for task, config in members(manager, names).items():
        if config.get("custom_dataset") or not config.get("dataset_path"):
            continue
        place = _Place.of(folder, config["dataset_path"], config.get("dataset_name"))
        lacks = [place.usual(split) for split in _wanted(config) if not place.holds(split)]
        # Members that only their group names, as GROUP::MEMBER, are chosen with it.
        (lacking if lacks else whole).append(task.partition("::")[0])
        files += lacks
    if files:
        listed = ", ".join(_listed(folder, files))
        complete = ",".join(dict.fromkeys(task for task in whole if task not in lacking))
        raise ParameterError(
            f"{folder} lacks data for {len(lacking)} of {len(lacking) + len(whole)} tasks: place "
            f"there, in the hub's fields, {listed} (or .parquet; docs/phi3-report.md says more)"
            + (f"; or name by --tasks those that lack none: {complete}" if complete else "")
            + "; or leave out --data to bring them from the hub"
        )


def _listed(folder: Path, files: list[Path]) -> Iterator[str]:
    """Each data set's first missing file, and how many more there are."""
    sets: dict[str, list[str]] = defaultdict(list)
    for file in dict.fromkeys(path.relative_to(folder) for path in files):
        sets[file.parts[0]].append(str(file))
    for first, *more in sets.values():
        yield f"{first} and {len(more)} more" if len(more) > 1 else ", ".join([first, *more])


@dataclass(frozen=True)
class _Place:
    """Where a folder holds a data set: its own part of it, and a configuration's in that."""

    root: Path
    folder: Path

    @classmethod
    def of(cls, folder: Path, path: str, name: str | None) -> Self:
        """Find the place of the data set `path` (of the hub), configuration `name`."""
        root = folder / _folder_name(path)
        return cls(root, root / name if name else root)

    @property
    def downloaded(self) -> bool:
        """Whether the hub's repository is here, whose card says what is where."""
        return (self.root / "README.md").is_file()

    def usual(self, split: str) -> Path:
        """Where a split is first looked for."""
        return self.folder / f"{split}.jsonl"

    def file(self, split: str) -> Path | None:
        """The file of a split, if there is one of its own."""
        files = (self.usual(split), self.folder / f"{split}.parquet")
        return next((file for file in files if file.is_file()), None)

    def holds(self, split: str) -> bool:
        """Whether it is worth while to read a split."""
        return self.downloaded or self.file(split) is not None


class _Splits(dict[str, datasets.Dataset]):
    """The splits of one data set, read from a folder as they are asked for."""

    def __init__(self, task: ConfigurableTask, folder: Path) -> None:
        super().__init__()
        self._task = task
        self._place = _Place.of(folder, task.DATASET_PATH, task.DATASET_NAME)
        if (task.config.dataset_kwargs or {}).get("data_files"):
            raise ParameterError(
                f"{task.config.task}: its data are single files of {task.DATASET_PATH}, "
                "for which a folder has no place; leave out --data to bring them from the hub"
            )

    def __missing__(self, split: str) -> datasets.Dataset:
        file = self._place.file(split)
        if file is not None:
            self[split] = _read(file)
        elif self._place.downloaded:
            self.update(self._downloaded())
        if split not in self:
            raise ParameterError(
                f"{self._task.config.task}: there is no {self._place.usual(split)} (or .parquet); "
                f"place the split `{split}` of {_title(self._task)} there in the hub's fields, or, "
                f"with a network, run `hf download {self._task.DATASET_PATH} --repo-type dataset "
                f"--local-dir {self._place.root}`, or leave out --data"
            )
        return self[split]

    def _downloaded(self) -> datasets.DatasetDict:
        try:
            return datasets.load_dataset(str(self._place.root), self._task.DATASET_NAME)
        except _UNREACHED as error:
            said = " ".join(str(error).split())[:200]
            raise ParameterError(
                f"{self._place.root}: this is not {_title(self._task)} as the hub has it: {said}"
            ) from None


def _read(file: Path) -> datasets.Dataset:
    try:
        if file.suffix == ".parquet":
            rows = datasets.Dataset(pyarrow.parquet.read_table(file))
        else:
            rows = datasets.Dataset.from_list(_lines(file))
    except (pyarrow.ArrowException, TypeError) as error:
        said = str(error).splitlines()[0]
        raise ParameterError(f"{file}: its rows cannot be read as one table: {said}") from None
    if not len(rows):
        raise ParameterError(f"{file}: it is empty; place the hub's rows there")
    return rows


def _lines(file: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ParameterError(f"{file}, line {number}: this is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise ParameterError(f"{file}, line {number}: this is no JSON object with fields")
        rows.append(row)
    return rows


def _from_hub(task: ConfigurableTask, load: Callable[[], None]) -> None:
    try:
        load()
    except _UNREACHED as error:
        said = " ".join(str(error).split())[:200]
        config = f"{task.DATASET_NAME}/" if task.DATASET_NAME else ""
        wanted = ", ".join(_wanted(vars(task.config) | {"fewshot_config": None}))
        raise ParameterError(
            f"{task.config.task}: {_title(task)} is neither in the hub's cache nor to be reached "
            f"({type(error).__name__}: {said}); run this once with a network, or place the splits "
            f"{wanted} as FOLDER/{_folder_name(task.DATASET_PATH)}/{config}SPLIT.jsonl and say "
            "--data FOLDER"
        ) from None


def _wanted(config: Config) -> list[str]:
    """The splits that a task reads: that of the examples, if they are not in its file; its own."""
    measured = config.get("test_split") or config.get("validation_split")
    shown = config.get("fewshot_split")
    if not shown and "samples" not in (config.get("fewshot_config") or {}):
        shown = config.get("training_split")
    return list(dict.fromkeys(split for split in (shown, measured) if split))


def _folder_name(path: str) -> str:
    return str(path).replace("/", "__")


def _title(task: ConfigurableTask) -> str:
    return f"{task.DATASET_PATH} ({task.DATASET_NAME})" if task.DATASET_NAME else task.DATASET_PATH
