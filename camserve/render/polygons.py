"""The outlines of hot regions: polygons that enclose exactly the pixels of the mask, with holes.

An outline runs along pixel edges with hot pixels on its right, and turns only at corners of pixels: outer rings run
clockwise in the picture, holes counterclockwise. Where two hot pixels touch only at a corner, the outline turns left
and keeps both in one ring, because one region has one box.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from camserve.render.painting import Rows
from camserve.render.regions import Box, boxes_of, hot_runs, hottest_first, sample
from camserve.system.deadlines import check_deadline

Indices = npt.NDArray[np.intp]
Ring = list[list[int]]

_RIGHT, _DOWN, _LEFT, _UP = range(4)  # turning right adds 1


@dataclass(frozen=True)
class Polygon:
    """One connected hot region. box: its bounds, peak and share of the heat.

    rings: closed, in original pixels [x, y]; edges, not centres: [0, 0] is the photograph's corner. The first ring is
    the outline, the others are holes, as in the `coordinates` of a GeoJSON Polygon. If two parts of the region are
    connected only by a corner, the outline touches itself there.
    """

    box: Box
    rings: list[Ring]


def find_polygons(rows: Rows, size: tuple[int, int], *, threshold: float) -> list[Polygon]:
    """Return the regions of `find_boxes`, in the same order, with their outlines; they are as exact as the boxes.

    size: (W, H) of the original, pixels. threshold: 0..1. Raises OptionError.
    """
    heat, step = sample(rows, size)
    runs = hot_runs(heat, threshold)
    stride, rings = runs.hot.shape[1], defaultdict[int, list[Ring]](list)
    for corners in _trace(runs.hot):
        y, x = np.divmod(corners, stride)
        ring = np.minimum((np.stack([x, y], 1) - 1) * step, size).tolist()
        first = np.searchsorted(runs.starts, corners[0], side="right") - 1  # the run below the ring's first side
        rings[int(runs.region[first])].append([*ring, ring[0]])
    boxes = boxes_of(runs, step, size)
    found = [Polygon(box, rings[region]) for box, region in zip(boxes, sorted(rings), strict=True)]
    return sorted(found, key=lambda polygon: hottest_first(polygon.box))


def _trace(hot: npt.NDArray[np.bool_]) -> Iterator[Indices]:
    """Yield the corners of each ring, as flat indices of the pixels with this top left corner; topmost rings first.

    hot: (h, w), with a cold margin. Each ring begins with a side above hot pixels. A region's outline has the topmost
    such side, so it comes before the region's holes.
    """
    starts, ends, directions = _sides(hot)
    if not len(starts):
        return
    order = np.argsort(4 * starts + directions)
    keys = (4 * starts + directions)[order]
    to_left = np.searchsorted(keys, left := 4 * ends + (directions - 1) % 4)
    to_right = np.searchsorted(keys, 4 * ends + (directions + 1) % 4)
    turns_left = keys[np.minimum(to_left, len(keys) - 1)] == left
    following = order[np.where(turns_left, to_left, to_right)].tolist()
    done = bytearray(len(following))
    for first in np.flatnonzero(directions == _RIGHT).tolist():
        ring = []
        while not done[first]:
            done[first] = True
            ring.append(first)
            first = following[first]
        check_deadline()
        if ring:
            yield starts[ring]


def _sides(hot: npt.NDArray[np.bool_]) -> tuple[Indices, Indices, Indices]:
    """Return every straight side between hot and cold, hot on its right: its first and last corner, its direction."""
    stride = hot.shape[1]
    first, last, below = _runs_of_change(hot)
    top, bottom, right = _runs_of_change(hot.T)
    top, bottom = ((place % len(hot)) * stride + place // len(hot) for place in (top, bottom))
    starts = np.concatenate([np.where(below, first, last), np.where(right, bottom, top)])
    ends = np.concatenate([np.where(below, last, first), np.where(right, top, bottom)])
    directions = np.concatenate([np.where(below, _RIGHT, _LEFT), np.where(right, _UP, _DOWN)])
    return starts, ends, directions


def _runs_of_change(hot: npt.NDArray[np.bool_]) -> tuple[Indices, Indices, npt.NDArray[np.bool_]]:
    """Find where a row differs from the row before: flat indices of each run's start and end, and whether it is hot."""
    change = np.diff(hot.astype(np.int8), axis=0, prepend=np.int8(0)).ravel()
    bounds = np.flatnonzero(np.diff(change)) + 1
    starts, ends = bounds[:-1], bounds[1:]
    real = change[starts] != 0
    return starts[real], ends[real], change[starts[real]] > 0
