"""How far one map lies from another, on their sketches, and how such numbers are distributed."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from camserve.findings.findings import overlap
from camserve.findings.results import Row
from camserve.findings.sketch import SIDE, Float32, from_text, heat_of

_BINS = 1000  # of a histogram over 0..1 or -1..1, for medians


class Move(NamedTuple):
    """How one map became another. overlap: 0..1. correlation: -1..1. shift: of the heat's centre, in diagonals."""

    overlap: float
    correlation: float
    shift: float


@dataclass
class Distribution:
    """Mean and median of numbers from `low` to 1, in a histogram."""

    low: float
    count: int = 0
    total: float = 0.0
    bins: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    def add(self, value: float) -> None:
        """Count one."""
        self.count += 1
        self.total += value
        place = int((value - self.low) / (1 - self.low) * _BINS)
        self.bins[min(max(place, 0), _BINS - 1)] += 1

    @property
    def mean(self) -> float | None:
        """None of no numbers."""
        return self.total / self.count if self.count else None

    @property
    def median(self) -> float | None:
        """Within a thousandth of the range; None of no numbers."""
        if not self.count:
            return None
        place = int(np.searchsorted(np.cumsum(self.bins), self.count / 2))
        return self.low + (place + 0.5) / _BINS * (1 - self.low)


def move(one: Row, other: Row) -> Move:
    """How an explanation's map became another's."""
    first, second = from_text(one["sketch"]), from_text(other["sketch"])
    return Move(overlap(one, other), rank_correlation(first, second), _shift(first, second))


def rank_correlation(one: Float32, other: Float32) -> float:
    """Spearman's, over cells that both have seen; equal values share the mean of their ranks. 1 for two constant maps,
    0 where one of them is."""
    seen = ~(np.isnan(one) | np.isnan(other))
    first, second = (_ranks(each[seen]) for each in (one, other))
    first, second = first - first.mean(), second - second.mean()
    size = math.sqrt(float(first @ first) * float(second @ second))
    if size:
        return float(first @ second) / size
    return float(not first.any() and not second.any())


def _ranks(values: Float32) -> npt.NDArray[np.float64]:
    _, place, number = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(number)
    ranks: npt.NDArray[np.float64] = (ends - (number - 1) / 2)[place]
    return ranks


def _shift(one: Float32, other: Float32) -> float:
    """Between the centres of the heat; 0 where one has none."""
    centres = []
    for heat in (heat_of(one), heat_of(other)):
        if not heat.any():
            return 0.0
        along = (np.arange(SIDE) + 0.5) / SIDE
        centres.append((float(heat.sum(0) @ along), float(heat.sum(1) @ along)))
    return math.dist(*centres) / math.sqrt(2)
