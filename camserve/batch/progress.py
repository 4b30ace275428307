"""The progress of a batch: a bar on a terminal, log lines elsewhere, or nothing."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from camserve.findings.results import Row

_FIRST, _SLOWEST = 5.0, 60.0  # seconds between two log lines: at the start, and at most
_BARS_PER_SECOND = 4


class Progress(Protocol):
    """Shows the progress of a run; `advance` gets every row."""

    def say(self, text: str) -> None:
        """Show a message about the whole run."""

    @contextmanager
    def of(self, total: int, done: int, failed: int) -> Iterator[None]:
        """The run happens inside this block. An earlier run did `done` of `total` images; `failed` of them failed."""

    def advance(self, row: Row) -> None:
        """Count one more image."""


class Silent:
    """Shows nothing."""

    def say(self, text: str) -> None:
        """Do nothing."""

    @contextmanager
    def of(self, total: int, done: int, failed: int) -> Iterator[None]:
        """Do nothing before and after the run."""
        yield

    def advance(self, row: Row) -> None:
        """Do nothing."""


class Tally:
    """Counts the images of a run; `str` gives images done, speed, time left and failures."""

    def __init__(self, total: int, done: int, failed: int, clock: Callable[[], float]) -> None:
        self.total, self.done, self.failed = total, done, failed
        self._before, self._clock, self._start = done, clock, clock()

    def add(self, row: Row) -> None:
        """Count one row."""
        self.done += 1
        self.failed += row["status"] == "failed"

    @property
    def rate(self) -> float:
        """Images per second since this run started."""
        return (self.done - self._before) / max(self._clock() - self._start, 1e-9)

    def __str__(self) -> str:
        left = f", {_span((self.total - self.done) / self.rate)} left" if self.done > self._before else ""
        return f"{self.done} of {self.total}, {self.rate:.1f} images/s{left}, {self.failed} failed"


class Lines:
    """Writes log lines: one for each failure, and one at growing intervals."""

    def __init__(self, file: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock = file or sys.stderr, clock

    @contextmanager
    def of(self, total: int, done: int, failed: int) -> Iterator[None]:
        """Write how many images are already done, and the final counts after the run."""
        self._tally = Tally(total, done, failed, self._clock)
        self._pause, self._last = _FIRST, self._clock()
        if done:
            self.say(f"continuing after {done} of {total} images")
        try:
            yield
        finally:
            self.say(str(self._tally))

    def advance(self, row: Row) -> None:
        """Count one more image; write a line if it failed or if the interval is over."""
        self._tally.add(row)
        if row["status"] == "failed":
            self.say(f"failed: {row['error']}")
        if self._clock() - self._last >= self._pause:
            self.say(str(self._tally))
            self._pause, self._last = min(self._pause * 1.5, _SLOWEST), self._clock()

    def say(self, text: str) -> None:
        """Write a line, unless the text is empty."""
        if not text:
            return
        self._file.write(f"{text}\n")
        self._file.flush()


class Bar:
    """Shows a bar on a terminal, and failures above it."""

    def say(self, text: str) -> None:
        """Write a line, unless the text is empty."""
        if text:
            sys.stderr.write(f"{text}\n")

    @contextmanager
    def of(self, total: int, done: int, failed: int) -> Iterator[None]:
        """Show the bar during the run."""
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Columns

        self._tally = Tally(total, done, failed, time.monotonic)
        columns = BarColumn(), TextColumn("{task.description}", markup=False)
        with Columns(*columns, console=Console(stderr=True), refresh_per_second=_BARS_PER_SECOND) as bar:
            self._bar, self._task = bar, bar.add_task(str(self._tally), total=total, completed=done)
            yield

    def advance(self, row: Row) -> None:
        """Count one more image, and move the bar."""
        self._tally.add(row)
        if row["status"] == "failed":
            self._bar.console.print(f"failed: {row['error']}", highlight=False, markup=False, style="red")
        self._bar.update(self._task, advance=1, description=str(self._tally))


def progress_for(*, quiet: bool) -> Progress:
    """Return Silent if quiet, Bar if standard error is a terminal, else Lines."""
    if quiet:
        return Silent()
    return Bar() if sys.stderr.isatty() else Lines()


def _span(seconds: float) -> str:
    """A time in words: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
