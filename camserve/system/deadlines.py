"""Until when a caller waits for the work of a thread. Long work checks this between its steps, and stops when late."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from camserve.errors import DeadlinePassed

# until: the time.monotonic() at which the caller stops waiting for this thread; None: never
_mine = threading.local()


@contextmanager
def within(until: float | None) -> Iterator[None]:
    """Inside the context, the thread's caller waits until this time.monotonic(); None: without a limit."""
    before = due()
    _mine.until = until
    try:
        yield
    finally:
        _mine.until = before


def due() -> float | None:
    """Return the time.monotonic() until which the caller waits for this thread; None: without a limit."""
    until: float | None = getattr(_mine, "until", None)
    return until


def check_deadline() -> None:
    """Raise DeadlinePassed if no caller waits any more. Long tasks call this between their steps."""
    if (until := due()) is not None and time.monotonic() > until:
        raise DeadlinePassed("nobody waits for this answer any more")
