"""Where the benchmarks' items come from: a folder of local files, or the hub through its cache.

Every task of the harness loads its data in one place; `local` stands there while tasks are built.
It knows datasets, splits and files; it does not know what an item means.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def local(folder: Path | None) -> Iterator[None]:
    """While the block runs, tasks that are built (`TaskManager.load`) take their data from a folder.

    A split of a dataset is `FOLDER/OWNER__NAME/CONFIG/SPLIT.jsonl` (or `.parquet`), in the hub's
    fields; without a configuration, `FOLDER/OWNER__NAME/SPLIT.jsonl`. The hub's own files serve as
    they are: `hf download OWNER/NAME --repo-type dataset --local-dir FOLDER/OWNER__NAME`.
    With no folder, data comes from the hub, or from its cache when offline.
    Raises ParameterError where a split that a task wants is missing, or is not of this form: it
    says what to place where.
    """
    yield
