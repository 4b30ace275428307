"""Until when somebody waits for what a thread does. Long work asks between its steps, and ends where nobody does."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from camserve.errors import DeadlinePassed

# until: time.monotonic() when the caller of what this thread does stops waiting; None: never
_mine = threading.local()


@contextmanager
def within(until: float | None) -> Iterator[None]:
    """While a thread works for somebody who waits until then, by time.monotonic(); None: for as long as it takes."""
    before = due()
    _mine.until = until
    try:
        yield
    finally:
        _mine.until = before


def due() -> float | None:
    """Until when somebody waits for what this thread does, by time.monotonic(); None: for as long as it takes."""
    until: float | None = getattr(_mine, "until", None)
    return until


def check_deadline() -> None:
    """Between the steps of a long task: raises DeadlinePassed where nobody waits for it any more."""
    if (until := due()) is not None and time.monotonic() > until:
        raise DeadlinePassed("nobody waits for this answer any more")
