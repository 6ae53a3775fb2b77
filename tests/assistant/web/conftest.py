"""Sites that end with the test."""

from collections.abc import Iterator

import pytest
from sites import Internet


@pytest.fixture
def internet() -> Iterator[Internet]:
    found = Internet()
    yield found
    found.close()
