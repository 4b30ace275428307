"""Shared by the benchmarks: interleaved timing, medians with quartiles, and ratios taken pair by pair."""

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
    """The time of a work that measures itself, for example in another process."""


class Skipped(Exception):
    """A part cannot be measured on this machine; the message says why, and what would help."""


@dataclass(frozen=True)
class Table:
    """title; rows, each {column: cell} in the order of the columns; note: how to read it."""

    title: str
    rows: list[Row]
    note: str = ""


@dataclass(frozen=True)
class Aim:
    """A number with a target. value: as measured; limit: the largest allowed value or, with at_least, the smallest."""

    what: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def reached(self) -> bool:
        """Whether the value keeps the limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass
class Results:
    """The results of one part. notes: what was left out, and why."""

    tables: list[Table] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def interleaved(works: Mapping[str, Work], repeats: int, warmups: int = 3) -> Samples:
    """Measure seconds of every work, `repeats` times: all works once, then all again in another order.

    The order changes because each work finds the CPU caches as the work before left them. The orders are the same in
    every run.
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
    """Return the seconds of `work`, as wall time or as measured by the work itself."""
    start = time.perf_counter()
    result = work()
    took = time.perf_counter() - start
    return float(result) if isinstance(result, Seconds) else took


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return (lower quartile, median, upper quartile); a single value counts as all three."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def ratio(mine: Sequence[float], base: Sequence[float]) -> float:
    """Return the median of mine / base, repeat by repeat, so that a drifting machine speed does not matter."""
    return statistics.median(one / other for one, other in zip(mine, base, strict=True))


def rows(samples: Samples, base: str | None = None, *, images: int = 1, against: str = "x forward") -> list[Row]:
    """Return one row per work: median and quartiles in milliseconds an image, and the ratio to the work `base`."""
    found = []
    for name, seconds in samples.items():
        low, median, high = (1e3 * value / images for value in spread(seconds))
        row: Row = {"what": name, "median ms": median, "quartiles ms": [low, high], "repeats": len(seconds)}
        if base is not None:
            row[against] = ratio(seconds, samples[base])
        found.append(row)
    return found
