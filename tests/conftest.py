"""What every test may rely on, and what every test is watched for."""

import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fails a test that leaves a thread of its own behind (the shared worker pool may stay)."""
    before = set(threading.enumerate())
    yield
    left = [
        thread.name
        for thread in threading.enumerate()
        if thread not in before and not thread.daemon and not thread.name.startswith("camserve")
    ]
    assert not left, f"threads left behind: {left}"
