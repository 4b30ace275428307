"""How long the steps of one request took, for the Server-Timing header."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Timing:
    """Collects durations by step: `with timing("decode"): ...`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time what runs inside."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0) + time.perf_counter() - start

    def header(self) -> str:
        """The value of Server-Timing, in milliseconds: `decode;dur=12.3, explain;dur=45.6`."""
        return ", ".join(f"{step};dur={seconds * 1000:.1f}" for step, seconds in self.seconds.items())
