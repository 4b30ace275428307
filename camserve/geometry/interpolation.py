"""Linear interpolation between samples one step apart, constant beyond the outermost; it lays maps over pixels."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


def across(values: Float32, positions: npt.NDArray[np.float64]) -> Float32:
    """`values` (..., n) at `positions` (m,) along the last axis: (..., m)."""
    before, share = places(positions, values.shape[-1])
    after = np.minimum(before + 1, values.shape[-1] - 1)
    low = np.take(values, before, axis=-1)
    placed: Float32 = low + (np.take(values, after, axis=-1) - low) * share
    return placed


def down(values: Float32, positions: npt.NDArray[np.float64]) -> Float32:
    """`values` (n, w) at rising `positions` (m,) along the first axis: (m, w).

    Works on whole rows, so it is fast. A row does not depend on which other rows are made.
    """
    return _over(values, positions, lambda used: used)


def over(values: Float32, u: npt.NDArray[np.float64], v: npt.NDArray[np.float64]) -> Float32:
    """`values` (h, w) at the columns `u` and the rising rows `v`: (len(v), len(u))."""
    return _over(values, v, lambda used: across(used, u))


def _over(values: Float32, v: npt.NDArray[np.float64], widened: Callable[[Float32], Float32]) -> Float32:
    """Rows of `values` at `v`. `widened` is applied only to the rows that are needed."""
    before, share = places(v, len(values))
    used, before = widened(values[before[0] : before[-1] + 2]), before - before[0]
    placed: Float32 = np.diff(used, axis=0, append=used[-1:]).take(before, axis=0)
    placed *= share[:, None]
    placed += used.take(before, axis=0)
    return placed


def places(positions: npt.NDArray[np.float64], count: int) -> tuple[npt.NDArray[np.intp], Float32]:
    """The index of the sample (of `count`) before each position, and how far after it the position lies, 0..1."""
    inside = np.clip(positions, 0, count - 1)
    before = np.minimum(inside.astype(np.intp), max(count - 2, 0))
    return before, (inside - before).astype(np.float32)
