"""A map with more cells than it has, so that drawing it shows no corners; equal to it at the centres of its own.

Between cell centres lies the cubic that has the given values and slopes at both. With Steffen's slopes (1990, "A simple
method for monotonic interpolation in one dimension") on samples one apart it never leaves the range of the two: no
colour is drawn that none of the cells around has, and a peak stays where it is. Linear interpolation keeps the range,
too, but folds at each centre, which colours show as diamonds. Rows come first, then columns.

Drawing interpolates linearly between the finer cells: with 16 to a cell it is off by 0.3 % of the step between two
cells at most. Drawing only: masks, boxes, regions and heatmaps are of the map as it is.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from camserve.geometry.frame import Placement

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

# Cells of the longer side from which a map is fine enough as it is; steps to a cell at most.
_FINEST, _MOST = 512, 16


def smoothed(grid_map: Float32, placement: Placement) -> tuple[Float32, Placement]:
    """A map (h, w) of finite numbers with up to 16 cells for each of its own, and where those lie."""
    steps = min(max(-(-_FINEST // max(grid_map.shape)), 1), _MOST)
    if steps == 1:
        return grid_map, placement
    finer = _filled(_filled(grid_map.astype(np.float64), steps).T, steps).T
    grid, stride = (finer.shape[1], finer.shape[0]), (placement.stride[0] / steps, placement.stride[1] / steps)
    return np.ascontiguousarray(finer, np.float32), replace(placement, grid=grid, stride=stride)


def _filled(values: Float64, steps: int) -> Float64:
    """`values` (m, n) with `steps` for each along the last axis, (m, (n - 1) steps + 1)."""
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
    """Steffen's slope at each sample, from the rises before and behind it; 0 at peaks, valleys and both ends."""
    before, behind = rises[:, :-1], rises[:, 1:]
    least = np.minimum(2 * np.minimum(np.abs(before), np.abs(behind)), np.abs(before + behind) / 2)
    return np.where(before * behind > 0, np.sign(before) * least, 0)
