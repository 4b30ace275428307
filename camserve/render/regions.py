"""Find boxes around connected hot regions, on a sample of at most 2^20 pixels."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from camserve.render.painting import Heat, Rows, checked_share, strips

Indices = npt.NDArray[np.intp]

_SAMPLE_PIXELS = 2**20


@dataclass(frozen=True)
class Box:
    """The bounds of one connected hot region, in pixels of the original; right and bottom are exclusive.

    peak: the largest heat in the region, 0..1. share: the region's share of all heat in the photograph, 0..1.
    """

    left: int
    top: int
    right: int
    bottom: int
    peak: float
    share: float

    def enlarged(self, factor: int) -> "Box":
        """Return the box in a copy of the photograph that is `factor` times as wide and as high."""
        left, top, right, bottom = (edge * factor for edge in (self.left, self.top, self.right, self.bottom))
        return Box(left, top, right, bottom, self.peak, self.share)

    def resized(self, photo: tuple[int, int], size: tuple[int, int]) -> "Box":
        """Return the pixels that the box touches in a copy of (w, h) pixels. photo: (W, H) of the photograph."""
        (across, down), (wide, high) = photo, size
        left, top = self.left * wide // across, self.top * high // down
        right, bottom = -(-self.right * wide // across), -(-self.bottom * high // down)
        return Box(left, top, right, bottom, self.peak, self.share)


def find_boxes(rows: Rows, size: tuple[int, int], *, threshold: float) -> list[Box]:
    """Return the connected regions of heat >= threshold, the region with most heat first; touching corners connect.

    size: (W, H) of the original, pixels. threshold: 0..1. Boxes are exact up to 2^20 pixels. A larger photograph is
    sampled every 2, 4, 8 ... pixels, and its boxes are exact to this step. Raises OptionError.
    """
    heat, step = sample(rows, size)
    return sorted(boxes_of(hot_runs(heat, threshold), step, size), key=hottest_first)


def hottest_first(box: Box) -> tuple[float, int, int]:
    """Return the key by which boxes are sorted."""
    return -box.share, box.top, box.left


def sampling(size: tuple[int, int]) -> tuple[int, tuple[int, int]]:
    """Return how a picture of (W, H) is sampled: the step, a power of two, 1 if possible; and (h, w) of the sample."""
    step = 1
    while math.ceil(size[0] / step) * math.ceil(size[1] / step) > _SAMPLE_PIXELS:
        step *= 2
    return step, (math.ceil(size[1] / step), math.ceil(size[0] / step))


def sample(rows: Rows, size: tuple[int, int]) -> tuple[Heat, int]:
    """Return the heat at the centre of each step x step block, and the step; see `sampling`."""
    step, _ = sampling(size)
    x, y = (np.minimum(np.arange(0, length, step) + step // 2, length - 1) for length in size)
    parts = ((first, y[(first <= y) & (y < last)] - first, last) for first, last in strips(size))
    return np.concatenate([rows(first, last)[np.ix_(inside, x)] for first, inside, last in parts]), step


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of hot pixels along the rows of a sample of heat, and the connected region that each belongs to.

    heat: (h + 2, w + 2), with a margin of -1, colder than any threshold, so that no run reaches into the next row.
    starts, ends: flat indices into heat, ends exclusive. region: per run, the number of its region's first run.
    """

    heat: Heat
    hot: npt.NDArray[np.bool_]
    starts: Indices
    ends: Indices
    region: Indices


def hot_runs(heat: Heat, threshold: float) -> Runs:
    """Return the runs of heat >= threshold. Raises OptionError."""
    padded = np.pad(np.nan_to_num(heat, nan=-1), 1, constant_values=-1)
    hot = padded >= checked_share("threshold", threshold)
    edges = np.flatnonzero(np.diff(hot.ravel())) + 1
    starts, ends = edges[::2], edges[1::2]
    return Runs(padded, hot, starts, ends, _connect(starts, ends, padded.shape[1]))


def boxes_of(runs: Runs, step: int, size: tuple[int, int]) -> list[Box]:
    """Return the box of each region, in the order of first runs. step: original pixels per pixel of the sample."""
    whole = float(runs.heat.sum(where=runs.heat > 0, dtype=np.float64)) or 1.0  # without heat every share is 0
    return [
        Box(left * step, top * step, min(right * step, size[0]), min(bottom * step, size[1]), peak, total / whole)
        for left, top, right, bottom, peak, total in _bounds(runs)
    ]


def _bounds(runs: Runs) -> Iterator[tuple[int, int, int, int, float, float]]:
    """Yield left, top, right, bottom, peak and sum of each region, in pixels of the sample."""
    flat, stride, starts, ends = runs.heat.ravel(), runs.heat.shape[1], runs.starts, runs.ends
    if not len(starts):
        return iter(())
    edges = np.stack([starts, ends], 1).ravel()
    order = np.argsort(runs.region, kind="stable")
    firsts = np.flatnonzero(np.diff(runs.region[order], prepend=-1))
    columns = (
        (np.minimum, starts % stride - 1),
        (np.minimum, starts // stride - 1),
        (np.maximum, ends % stride - 1),
        (np.maximum, starts // stride),
        (np.maximum, np.maximum.reduceat(flat, edges)[::2]),
        (np.add, np.add.reduceat(flat, edges, dtype=np.float64)[::2]),
    )
    return zip(*(function.reduceat(run[order], firsts).tolist() for function, run in columns), strict=True)


def _connect(starts: Indices, ends: Indices, stride: int) -> Indices:
    """Find the region of each run of hot pixels with union-find: the number of the region's first run.

    starts, ends: flat indices, ends exclusive, into an image of `stride` columns with a cold margin.
    """
    parent = list(range(len(starts)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = run = parent[parent[run]]
        return run

    above = np.searchsorted(ends, starts - stride), np.searchsorted(starts, ends - stride, side="right")
    for run, (first, last) in enumerate(np.transpose(above).tolist()):
        for other in range(first, last):
            one, two = root(run), root(other)
            parent[max(one, two)] = min(one, two)
    return np.array([root(run) for run in range(len(parent))], dtype=np.intp)
