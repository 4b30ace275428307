"""Smooth a map by giving it more cells, so that a drawing of it shows no corners. Values at the old centres stay.

Between two cell centres runs the cubic with the given values and slopes at both. With Steffen's slopes (1990, "A simple
method for monotonic interpolation in one dimension") it never leaves the range of the two values, so peaks stay where
they are and every colour lies between those of the neighbouring cells. Linear interpolation also keeps the range, but
has a fold at each centre, which looks like diamonds. Smoothing goes along the rows first, then along the columns.

Drawing interpolates linearly between the finer cells. With 16 finer cells for each cell, the error is at most 0.3 % of
the step between two cells. Only drawings are smoothed: masks, boxes, regions and heatmaps use the original map.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from camserve.geometry.frame import Placement

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

# A map with this many cells along its longer side is fine enough; most steps for each cell.
_FINEST, _MOST = 512, 16


def smoothed(grid_map: Float32, placement: Placement) -> tuple[Float32, Placement]:
    """A map (h, w) of finite numbers with up to 16 times as many cells along each axis, and their placement."""
    steps = min(max(-(-_FINEST // max(grid_map.shape)), 1), _MOST)
    if steps == 1:
        return grid_map, placement
    finer = _filled(_filled(grid_map.astype(np.float64), steps).T, steps).T
    grid, stride = (finer.shape[1], finer.shape[0]), (placement.stride[0] / steps, placement.stride[1] / steps)
    return np.ascontiguousarray(finer, np.float32), replace(placement, grid=grid, stride=stride)


def _filled(values: Float64, steps: int) -> Float64:
    """`values` (m, n) with `steps` values for each along the last axis, (m, (n - 1) steps + 1)."""
    if values.shape[1] == 1:
        return values
    rise = np.diff(values, axis=1)
    slopes = _slopes(np.pad(rise, ((0, 0), (1, 1))))
    leaving, arriving = slopes[:, :-1, None], slopes[:, 1:, None]
    low, rise = values[:, :-1, None], rise[..., None]
    t = np.arange(steps) / steps
    between = low + t * (leaving + t * (3 * rise - 2 * leaving - arriving + t * (leaving + arriving - 2 * rise)))
    return np.concatenate([between.reshape(len(values), -1), values[:, -1:]], axis=1)


def _slopes(rises: Float64) -> Float64:
    """Steffen's slope at each sample, from the rises before and after it; 0 at peaks, valleys and both ends."""
    before, behind = rises[:, :-1], rises[:, 1:]
    least = np.minimum(2 * np.minimum(np.abs(before), np.abs(behind)), np.abs(before + behind) / 2)
    return np.where(before * behind > 0, np.sign(before) * least, 0)
