"""Where the benchmarks' items come from: a folder of local files, or the hub through its cache.

Every task of the harness loads its data in one place; `local` stands there while tasks are built.
It knows datasets, splits and files; it does not know what an item means.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import httpx
import pyarrow  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]
from lm_eval.api.task import ConfigurableTask

from pocketlm.errors import ParameterError

#: What `datasets` raises where a data set cannot be had: it has no one class for it.
_UNREACHED = (OSError, ValueError, httpx.HTTPError, datasets.exceptions.DatasetsError)


@contextmanager
def local(folder: Path | None) -> Iterator[None]:
    """While the block runs, tasks that are built (`TaskManager.load`) take their data from here.

    A split of a dataset is `FOLDER/OWNER__NAME/CONFIG/SPLIT.jsonl` (or `.parquet`), in the hub's
    fields; without a configuration, `FOLDER/OWNER__NAME/SPLIT.jsonl`. The hub's own files serve as
    they are: `hf download OWNER/NAME --repo-type dataset --local-dir FOLDER/OWNER__NAME`.
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


class _Splits(dict[str, datasets.Dataset]):
    """The splits of one data set, read from a folder as they are asked for."""

    def __init__(self, task: ConfigurableTask, folder: Path) -> None:
        super().__init__()
        self._task = task
        self._root = folder / _folder_name(task)
        if (task.config.dataset_kwargs or {}).get("data_files"):
            raise ParameterError(
                f"{task.config.task}: its data are single files of {task.DATASET_PATH}, "
                "for which a folder has no place; leave out --data to bring them from the hub"
            )

    def __missing__(self, split: str) -> datasets.Dataset:
        files = self._files(split)
        if not files:
            raise ParameterError(
                f"{self._task.config.task}: there is no {self._places()[0] / split}.jsonl "
                f"(or .parquet); place the split `{split}` of {_title(self._task)} there in the "
                f"hub's fields, or, with a network, run `hf download {self._task.DATASET_PATH} "
                f"--repo-type dataset --local-dir {self._root}`, or leave out --data"
            )
        self[split] = found = _read(files)
        return found

    def _places(self) -> list[Path]:
        """Where files of the configuration may be: our place first, then the hub's other ones."""
        if self._task.DATASET_NAME:
            return [self._root / self._task.DATASET_NAME]
        return [self._root, self._root / "data"]

    def _files(self, split: str) -> list[Path]:
        for place in self._places():
            for pattern in (f"{split}.jsonl", f"{split}.parquet", f"{split}-?????-of-*.parquet"):
                if found := sorted(place.glob(pattern)):
                    return found
        return []


def _read(files: list[Path]) -> datasets.Dataset:
    try:
        if files[0].suffix == ".parquet":
            tables = [pyarrow.parquet.read_table(file) for file in files]
            rows = datasets.Dataset(pyarrow.concat_tables(tables))
        else:
            rows = datasets.Dataset.from_list(_lines(files[0]))
    except (pyarrow.ArrowException, TypeError) as error:
        said = str(error).splitlines()[0]
        raise ParameterError(f"{files[0]}: its rows cannot be read as one table: {said}") from None
    if not len(rows):
        raise ParameterError(f"{files[0]}: it is empty; place the hub's rows there")
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
        config = task.DATASET_NAME or ""
        raise ParameterError(
            f"{task.config.task}: {_title(task)} is neither in the hub's cache nor to be reached "
            f"({type(error).__name__}: {said}); run this once with a network, or place the splits "
            f"{', '.join(_wanted(task))} as FOLDER/{_folder_name(task)}/{config and config + '/'}"
            "SPLIT.jsonl and say --data FOLDER"
        ) from None


def _wanted(task: ConfigurableTask) -> list[str]:
    config = task.config
    measured = config.test_split or config.validation_split
    shown = task.fewshot_cfg.split or config.training_split
    return list(dict.fromkeys(split for split in (shown, measured) if split))


def _folder_name(task: ConfigurableTask) -> str:
    return str(task.DATASET_PATH).replace("/", "__")


def _title(task: ConfigurableTask) -> str:
    return f"{task.DATASET_PATH} ({task.DATASET_NAME})" if task.DATASET_NAME else task.DATASET_PATH
