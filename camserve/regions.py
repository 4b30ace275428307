"""Where the heat is: boxes around its connected regions, found on a sample of at most 2^20 pixels."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from camserve.painting import Heat, Rows, checked_share, strips

Indices = npt.NDArray[np.intp]

_SAMPLE_PIXELS = 2**20


@dataclass(frozen=True)
class Box:
    """The bounds of one connected hot region, in pixels of the original; right and bottom are exclusive.

    peak: the region's largest heat, 0..1. share: how much of all the photograph's heat is the region's, 0..1.
    """

    left: int
    top: int
    right: int
    bottom: int
    peak: float
    share: float


def find_boxes(rows: Rows, size: tuple[int, int], *, threshold: float) -> list[Box]:
    """The connected regions of heat >= threshold, the one with most heat first; touching corners connect.

    size: (W, H) of the original, pixels. threshold: 0..1. Exact up to 2^20 pixels; on larger photographs
    within the sampling step of 2, 4, 8 ... pixels that keeps to that number. Raises OptionError.
    """
    heat, step = sample(rows, size)
    whole = float(np.nansum(heat, dtype=np.float64)) or 1.0  # no heat anywhere: no region has a share of it
    found = []
    for left, top, right, bottom, peak, total in _regions(heat, checked_share("threshold", threshold)):
        right, bottom = min(right * step, size[0]), min(bottom * step, size[1])
        found.append(Box(left * step, top * step, right, bottom, peak, total / whole))
    return sorted(found, key=lambda box: (-box.share, box.top, box.left))


def sample(rows: Rows, size: tuple[int, int]) -> tuple[Heat, int]:
    """The heat at the middle of each step x step block, and the step: a power of two, 1 where possible."""
    step = 1
    while math.ceil(size[0] / step) * math.ceil(size[1] / step) > _SAMPLE_PIXELS:
        step *= 2
    x, y = (np.minimum(np.arange(0, length, step) + step // 2, length - 1) for length in size)
    parts = ((first, y[(first <= y) & (y < last)] - first, last) for first, last in strips(size))
    return np.concatenate([rows(first, last)[np.ix_(inside, x)] for first, inside, last in parts]), step


def _regions(heat: Heat, threshold: float) -> Iterator[tuple[int, int, int, int, float, float]]:
    """Left, top, right, bottom, peak and sum of each region of `heat`, in its own pixels."""
    # With the margin no run of hot pixels goes on into the next row; below 0 it is colder than any threshold.
    padded = np.pad(np.nan_to_num(heat, nan=-1), 1, constant_values=-1)
    flat, stride = padded.ravel(), padded.shape[1]
    edges = np.flatnonzero(np.diff(flat >= threshold)) + 1
    if not len(edges):
        return iter(())
    starts, ends = edges[::2], edges[1::2]
    region = _connect(starts, ends, stride)
    order = np.argsort(region, kind="stable")
    firsts = np.flatnonzero(np.diff(region[order], prepend=-1))
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
    """The region of each run of hot pixels, by union-find: the number of the region's first run.

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
    return np.array([root(run) for run in range(len(parent))])
