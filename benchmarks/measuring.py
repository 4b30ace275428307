"""What the benchmarks share: works timed in turn, medians with their spread, and ratios taken pair by pair."""

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Work = Callable[[], object]
Samples = dict[str, list[float]]
Row = dict[str, Any]


class Seconds(float):
    """What a work took, where it measured that itself, such as in another process."""


class Skipped(Exception):
    """A part cannot be measured here; the message says why, and what would help."""


@dataclass(frozen=True)
class Table:
    """title; rows, each {column: cell} in the order of the columns; note: how to read it."""

    title: str
    rows: list[Row]
    note: str = ""


@dataclass(frozen=True)
class Aim:
    """A figure that was aimed at. value: as measured; limit: at most that, or, with at_least, at least."""

    what: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def reached(self) -> bool:
        """Whether the figure is what it should be."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass
class Results:
    """What one part found. notes: what was left out, and why."""

    tables: list[Table] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def interleaved(works: Mapping[str, Work], repeats: int, warmups: int = 3) -> Samples:
    """Seconds of every work, `repeats` each: all of them once, then all again, each time in another order.

    What a work finds in the processor's caches is what the one before has left there, which must not be always the
    same. The orders are the same in every run.
    """
    names, shuffled = list(works), random.Random(0)
    seconds: Samples = {name: [] for name in works}
    for repeat in range(warmups + repeats):
        shuffled.shuffle(names)
        for name in names:
            took = timed(works[name])
            if repeat >= warmups:
                seconds[name].append(took)
    return seconds


def timed(work: Work) -> float:
    """Seconds that `work` took, by the clock on the wall or as it says itself."""
    start = time.perf_counter()
    result = work()
    took = time.perf_counter() - start
    return float(result) if isinstance(result, Seconds) else took


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """(lower quartile, median, upper quartile); the value itself where there is but one."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def ratio(mine: Sequence[float], base: Sequence[float]) -> float:
    """The median of mine / base, repeat by repeat: a machine whose speed drifts does no harm."""
    return statistics.median(one / other for one, other in zip(mine, base, strict=True))


def rows(samples: Samples, base: str | None = None, *, images: int = 1, against: str = "x forward") -> list[Row]:
    """One row a work: median and quartiles in milliseconds an image and, where `base` names a work, times that."""
    found = []
    for name, seconds in samples.items():
        low, median, high = (1e3 * value / images for value in spread(seconds))
        row: Row = {"what": name, "median ms": median, "quartiles ms": [low, high], "repeats": len(seconds)}
        if base is not None:
            row[against] = ratio(seconds, samples[base])
        found.append(row)
    return found
