"""Distances between two maps, computed on their sketches, and the distribution of such numbers."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from camserve.findings.findings import overlap
from camserve.findings.results import Row
from camserve.findings.sketch import SIDE, Float32, from_text, heat_of

_BINS = 1000  # bins of a histogram over 0..1 or -1..1, for medians


class Move(NamedTuple):
    """The change between two maps. overlap: 0..1. correlation: -1..1. shift: of the heat's centre, in diagonals."""

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
        """The mean; None if there are no numbers."""
        return self.total / self.count if self.count else None

    @property
    def median(self) -> float | None:
        """The median, within a thousandth of the range; None if there are no numbers."""
        if not self.count:
            return None
        place = int(np.searchsorted(np.cumsum(self.bins), self.count / 2))
        return self.low + (place + 0.5) / _BINS * (1 - self.low)


def move(one: Row, other: Row) -> Move:
    """The change from the map of `one` to the map of `other`."""
    first, second = from_text(one["sketch"]), from_text(other["sketch"])
    return Move(overlap(one, other), rank_correlation(first, second), _shift(first, second))


def rank_correlation(one: Float32, other: Float32) -> float:
    """Spearman's rank correlation over cells seen in both maps. Equal values share their mean rank. 1 for two constant
    maps, 0 if only one map is constant."""
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
    """The distance between the centres of heat, in diagonals; 0 if one map has no heat."""
    centres = []
    for heat in (heat_of(one), heat_of(other)):
        if not heat.any():
            return 0.0
        along = (np.arange(SIDE) + 0.5) / SIDE
        centres.append((float(heat.sum(0) @ along), float(heat.sum(1) @ along)))
    return math.dist(*centres) / math.sqrt(2)
