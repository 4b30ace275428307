"""Means with bootstrap confidence intervals (Efron 1979): images are drawn with replacement."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

# Number of draws, the share of their means inside an interval, and the seed. Fixed, so that reports are reproducible.
DRAWS, COVERED, SEED = 1000, 0.95, 0
# The most numbers drawn at once; this limits the memory.
_AT_ONCE = 2**22


@dataclass(frozen=True)
class Figure:
    """A mean over `count` images. low, high: the 95 % bootstrap interval, None for fewer than two images."""

    mean: float
    low: float | None
    high: float | None
    count: int

    @property
    def in_short(self) -> str:
        """The mean and the interval, such as 0.712 [0.690, 0.733]."""
        return f"{self.mean:.3f}" if self.low is None else f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def figure_of(values: Float64) -> Figure | None:
    """The mean of values (n,) and its interval, without values that are not finite; None if no value is left."""
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    if len(values) == 1:
        return Figure(float(values[0]), None, None, 1)
    low, high = np.quantile(_means(values), [(1 - COVERED) / 2, (1 + COVERED) / 2])
    return Figure(float(values.mean()), float(low), float(high), len(values))


def differs(one: Float64, other: Float64) -> bool:
    """Whether the means of two lists of values (n,) for the same images differ by more than chance.

    They differ if the 95 % interval of the mean difference does not contain 0. Only images with both values count.
    """
    figure = figure_of(one - other)
    return figure is not None and figure.low is not None and not figure.low <= 0 <= (figure.high or 0)


def _means(values: Float64) -> Float64:
    """The mean of each draw, (DRAWS,)."""
    rng, many = np.random.default_rng(SEED), max(1, _AT_ONCE // len(values))
    counts = [min(many, DRAWS - first) for first in range(0, DRAWS, many)]
    return np.concatenate([values[rng.integers(0, len(values), (count, len(values)))].mean(1) for count in counts])
