"""A map laid over a photograph: as rows (made by numpy), or as the lines from which C code interpolates the rows."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from camserve.geometry import interpolation
from camserve.geometry.frame import Placement

Float32 = npt.NDArray[np.float32]


class Lines(NamedTuple):
    """Values (n, W) of lines, and for each row of a picture the line before it and how far after it the row lies, 0..1.

    A row is (values[before + 1] - values[before]) * share + values[before], in float32. After the last line nothing is
    added.
    """

    values: Float32
    before: npt.NDArray[np.int32]
    share: Float32


def lines_at(values: Float32, positions: npt.NDArray[np.float64]) -> Lines:
    """The lines from which `interpolation.down` would make the rows at rising `positions` (m,) of `values` (n, W)."""
    before, share = interpolation.places(positions, len(values))
    return Lines(np.ascontiguousarray(values, np.float32), before.astype(np.int32), share)


@dataclass(frozen=True, eq=False)
class Laid:
    """`grid_map` (h, w), float32, and the placement of its cells; a call returns rows, as `Placement.rows` does."""

    placement: Placement
    grid_map: Float32

    def __call__(self, first: int, last: int) -> Float32:
        """Rows first..last-1: float32 (last - first, W); NaN outside the frame's box."""
        return self.placement.rows(self.grid_map, first, last)

    def lines(self) -> Lines:
        """The lines from which all rows can be made, with the same numbers as a call."""
        frame = self.placement.frame
        (width, height), (left, top, right, bottom) = frame.original, frame.box
        x, y = np.arange(width), np.arange(height)
        u, v = self.placement.cell_at(x, y)
        lines = lines_at(interpolation.across(self.grid_map, u), v)
        if frame.sees_all:
            return lines
        values, before, share = lines
        values[:, (x + 0.5 < left) | (x + 0.5 > right)] = np.nan
        # repeat the last line, in case there is only one, and add a line of NaN for the rows outside the box
        values = np.concatenate([values, values[-1:], np.full((1, width), np.nan, np.float32)])
        before[(y + 0.5 < top) | (y + 0.5 > bottom)] = len(values) - 1
        return Lines(values, before, share)
