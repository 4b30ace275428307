"""Does the map depend on what the network learned? Its maps are compared with maps of networks with random weights.

The caller makes the random networks: `maps_of(stage)` gives the map of each depth, 0 for the smallest change, as (h, w)
in the shape of the map that it is compared with.
"""

from collections.abc import Callable

import numpy as np

from camserve.errors import OptionError
from camserve.metrics.heat import Float, Float64, seen

MapsOf = Callable[[int], Float]
Likeness = Callable[[Float, Float], float]

# SSIM: the side of a window in pixels, its two constants, and the range of values, -1..1.
WINDOW, K1, K2, DATA_RANGE = 7, 0.01, 0.03, 2.0


def spearman(one: Float, other: Float) -> float:
    """Return Spearman's rank correlation of two maps (h, w), -1..1; equal values share a rank; 0 if one is constant."""
    first, second = (_ranks(seen(values)) for values in _alike(one, other))
    return _pearson(first, second)


def pearson(one: Float, other: Float) -> float:
    """Return Pearson's correlation of two maps (h, w), -1..1; 0 if one is constant."""
    first, second = (seen(values).ravel() for values in _alike(one, other))
    return _pearson(first, second)


def ssim(one: Float, other: Float) -> float:
    """Return the structural similarity of two maps (h, w), -1..1. Wang et al. 2004.

    Each map is divided by its largest absolute value. Windows are uniform, 7 x 7 or the shorter side of a smaller map,
    and lie inside the map; the covariance is the sample's. These are scikit-image's defaults, with data_range 2.
    """
    x, y = (_over_largest(seen(values)) for values in _alike(one, other))
    side = min(WINDOW, *x.shape)
    unbiased = side**2 / max(side**2 - 1, 1)
    mean_x, mean_y = _window_means(x, side), _window_means(y, side)
    var_x, var_y, common = (
        unbiased * (_window_means(a * b, side) - _window_means(a, side) * _window_means(b, side))
        for a, b in ((x, x), (y, y), (x, y))
    )
    c1, c2 = (K1 * DATA_RANGE) ** 2, (K2 * DATA_RANGE) ** 2
    above = (2 * mean_x * mean_y + c1) * (2 * common + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float((above / below).mean())


def cascade(found: Float, maps_of: MapsOf, stages: int, likeness: Likeness) -> Float64:
    """Return the likeness of the map (h, w) to each stage's map, (stages,). Adebayo et al., NeurIPS 2018."""
    if stages < 1:
        raise OptionError(f"{stages} maps to compare with: give at least one")
    return np.array([likeness(found, maps_of(stage)) for stage in range(stages)])


def cascade_spearman(found: Float, maps_of: MapsOf, stages: int) -> float:
    """Return the mean of `cascade` with `spearman`. found: the raw map, signed."""
    return float(cascade(found, maps_of, stages, spearman).mean())


def cascade_ssim(found: Float, maps_of: MapsOf, stages: int) -> float:
    """Return the mean of `cascade` with `ssim`."""
    return float(cascade(found, maps_of, stages, ssim).mean())


def random_logit(found: Float, maps_of: MapsOf, stages: int) -> float:
    """Return the mean `ssim` with maps of other classes, one class a stage. Sixt et al., ICML 2020."""
    return float(cascade(found, maps_of, stages, ssim).mean())


def _alike(one: Float, other: Float) -> tuple[Float, Float]:
    if one.shape != other.shape:
        raise OptionError(f"maps of {one.shape} and {other.shape} cells cannot be compared: give maps of one layer")
    return one, other


def _ranks(values: Float64) -> Float64:
    """Return the ranks of all values, flat; equal values have the mean of their ranks."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[group.ravel()]


def _pearson(first: Float64, second: Float64) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    return float(np.clip(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)), -1, 1))


def _over_largest(values: Float64) -> Float64:
    largest = np.abs(values).max()
    return values / largest if largest > 0 else values


def _window_means(values: Float64, side: int) -> Float64:
    """Return the mean of each side x side window inside the map."""
    return np.asarray(np.lib.stride_tricks.sliding_window_view(values, (side, side)).mean((2, 3)))
