import logging
import os

import pytest
import torch

from recipe.train import small


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["TQDM_DISABLE"] = "1"
    for name in ("accelerate", "transformers", "trl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    """A folder with a tokenizer and shards."""
    return small.write_material(tmp_path_factory.mktemp("material"))
