"""A map laid over a photograph: rows where numpy makes them, or the lines between which they lie where C does."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from camserve.geometry import interpolation
from camserve.geometry.frame import Placement

Float32 = npt.NDArray[np.float32]


class Lines(NamedTuple):
    """Values (n, W), and for each row of a picture the line before it and how far beyond that it lies, 0..1.

    A row is (values[before + 1] - values[before]) * share + values[before], in float32; behind the last line it is 0
    that is added.
    """

    values: Float32
    before: npt.NDArray[np.int32]
    share: Float32


def lines_at(values: Float32, positions: npt.NDArray[np.float64]) -> Lines:
    """What `interpolation.down` makes of `values` (n, W) at rising `positions` (m,), not yet made."""
    before, share = interpolation.places(positions, len(values))
    return Lines(np.ascontiguousarray(values, np.float32), before.astype(np.int32), share)


@dataclass(frozen=True, eq=False)
class Laid:
    """`grid_map` (h, w), float32, whose cells lie as `placement` says; called, it gives rows as `Placement.rows`."""

    placement: Placement
    grid_map: Float32

    def __call__(self, first: int, last: int) -> Float32:
        """Rows first..last-1: float32 (last - first, W); NaN where the network saw nothing."""
        return self.placement.rows(self.grid_map, first, last)

    def lines(self) -> Lines:
        """All rows, not yet made: the same numbers."""
        frame = self.placement.frame
        (width, height), (left, top, right, bottom) = frame.original, frame.box
        x, y = np.arange(width), np.arange(height)
        u, v = self.placement.cell_at(x, y)
        lines = lines_at(interpolation.across(self.grid_map, u), v)
        if frame.sees_all:
            return lines
        values, before, share = lines
        values[:, (x + 0.5 < left) | (x + 0.5 > right)] = np.nan
        # the last line once more, in case there is but one, and then one for the rows that were not seen
        values = np.concatenate([values, values[-1:], np.full((1, width), np.nan, np.float32)])
        before[(y + 0.5 < top) | (y + 0.5 > bottom)] = len(values) - 1
        return Lines(values, before, share)
