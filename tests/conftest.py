"""What every test may need: real data and a real model, or a clear word why a test is skipped."""

import hashlib
import os
import signal
from pathlib import Path

import hypothesis
import pytest

# No test is timed by the clock of a machine that does something else as well.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let Ctrl-C be tested where a shell starts the tests with it ignored (in the background)."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of test data named by POCKETLM_TEST_DATA."""
    folder = os.environ.get("POCKETLM_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("POCKETLM_TEST_DATA names no folder of test data")
    return Path(folder)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The real default model, SmolLM2-135M-Instruct in Q4_1, as `make` leaves it in the store."""
    path = os.environ.get("POCKETLM_TEST_SMOLLM2")
    if path is None:
        from pocketlm.store import Store

        path = str(Store().resolve("smollm2"))
    model = Path(path)
    assert hashlib.sha256(model.read_bytes()).hexdigest() == SMOLLM2_SHA256
    return model
