"""How long the steps of one explanation took, for the Server-Timing header and `--timings`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from camserve.system.workers import Pool

R = TypeVar("R")


class Timing:
    """Collects durations by step: `with timing("decode"): ...`. A step inside another step counts only for itself.

    heard: called with each step that ends, its start and its end, of time.perf_counter().
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.heard: Callable[[str, float, float], None] | None = None

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time the code inside the context."""
        start, before = time.perf_counter(), sum(self.seconds.values())
        try:
            yield
        finally:
            inside, end = sum(self.seconds.values()) - before, time.perf_counter()
            self._add(step, end - start - inside, start, end)

    def header(self) -> str:
        """Return the value of Server-Timing, in milliseconds: `decode;dur=12.3, method;dur=45.6`."""
        return ", ".join(f"{step};dur={ms}" for step, ms in self.milliseconds().items())

    def milliseconds(self) -> dict[str, float]:
        """Return the milliseconds of each step, in the order in which the steps first ended."""
        return {step: round(1000 * seconds, 1) for step, seconds in list(self.seconds.items())}

    def add(self, step: str, seconds: float) -> None:
        """Add `seconds` that end now to a step."""
        end = time.perf_counter()
        self._add(step, seconds, end - seconds, end)

    def _add(self, step: str, seconds: float, start: float, end: float) -> None:
        self.seconds[step] = self.seconds.get(step, 0) + seconds
        if self.heard is not None:
            self.heard(step, start, end)


@dataclass(frozen=True)
class TimedPool:
    """A pool that times two steps: "queue" while a task waits for a worker, and "method" while it runs."""

    workers: "Pool"
    timing: Timing

    def run(self, task: Callable[[], R], deadline: float | None = None) -> R:
        """See `Pool.run`."""
        asked = time.perf_counter()

        def started() -> R:
            self.timing.add("queue", time.perf_counter() - asked)
            with self.timing("method"):
                return task()

        return self.workers.run(started, deadline)
