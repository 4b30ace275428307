"""Means with bootstrap confidence intervals (Efron 1979): images are drawn again, with replacement."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

# Draws, and the share of them that an interval holds. Fixed, so that a report can be made again bit for bit.
DRAWS, COVERED, SEED = 1000, 0.95, 0
# Numbers drawn at once: what bounds the memory.
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
        """Such as 0.712 [0.690, 0.733]."""
        return f"{self.mean:.3f}" if self.low is None else f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def figure_of(values: Float64) -> Figure | None:
    """The mean of values (n,), NaN left out; None where nothing is left."""
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    if len(values) == 1:
        return Figure(float(values[0]), None, None, 1)
    low, high = np.quantile(_means(values), [(1 - COVERED) / 2, (1 + COVERED) / 2])
    return Figure(float(values.mean()), float(low), float(high), len(values))


def differs(one: Float64, other: Float64) -> bool:
    """Whether two lists of values of the same images, (n,), differ in the mean by more than chance explains.

    That is so where the 95 % interval of the mean of the differences leaves 0 out. The images of both count.
    """
    figure = figure_of(one - other)
    return figure is not None and figure.low is not None and not figure.low <= 0 <= (figure.high or 0)


def _means(values: Float64) -> Float64:
    """The mean of each draw, (DRAWS,)."""
    rng, many = np.random.default_rng(SEED), max(1, _AT_ONCE // len(values))
    counts = [min(many, DRAWS - first) for first in range(0, DRAWS, many)]
    return np.concatenate([values[rng.integers(0, len(values), (count, len(values)))].mean(1) for count in counts])
