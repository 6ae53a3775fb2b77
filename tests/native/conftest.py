"""What the native tests share."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def limited_memory() -> Iterator[None]:
    """At most 1 GiB of addresses more than the process has now: what asks for more is refused."""
    if sys.platform != "linux":
        pytest.skip("limits addresses as Linux does")
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + (1 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
