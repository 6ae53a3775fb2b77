"""The suite's tasks, and rows of every data set that they read."""

from pathlib import Path

import lm_eval
import pytest
from lm_eval.tasks import TaskManager

from evaluate.harness import rows
from pocketlm.evaluate.harness.tasks import FOLDER

#: Of the harness's own tasks, those that these tests speak of: all of them take ten seconds.
STOCK = ("arc", "bbh", "hellaswag", "humaneval", "mbpp")


@pytest.fixture(scope="package")
def manager() -> TaskManager:
    stock = Path(lm_eval.__file__).parent / "tasks"
    folders = [str(stock / name) for name in STOCK]
    return TaskManager(include_path=[*folders, str(FOLDER)], include_defaults=False)


@pytest.fixture(scope="package")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows.place(folder)
    return folder
