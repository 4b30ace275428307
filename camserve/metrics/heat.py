"""Heat as metrics read it: pixels that the model did not see have no heat; pixels of equal heat have a seeded order."""

import numpy as np
import numpy.typing as npt

from camserve.errors import OptionError

Float = npt.NDArray[np.floating]
Float64 = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


def seen(heat: Float) -> Float64:
    """Return heat (H, W), raw and signed, in float64; 0 for NaN, the pixels that the model did not see."""
    return np.where(np.isnan(heat), 0, heat).astype(np.float64)


def positive(heat: Float) -> Float64:
    """Return the positive part of heat (H, W), the part that is drawn in colours."""
    return np.maximum(seen(heat), 0)


def unit(heat: Float) -> Float64:
    """Return the positive part divided by its maximum, 0..1; zeros if no heat is positive."""
    part = positive(heat)
    return part / part.max() if part.max() > 0 else part


def hottest_first(heat: Float, seed: int = 0) -> Indices:
    """Return flat indices of all pixels by falling signed heat; `seed` sets the order of pixels of equal heat."""
    values = seen(heat).ravel()
    return np.lexsort((np.random.default_rng(seed).permutation(values.size), -values))


def area_under(y: Float, x: Float) -> float:
    """Return the integral of y over x by trapezoids, both (n,)."""
    return float(((y[1:] + y[:-1]) / 2) @ np.diff(x))


def object_mask(heat: Float, inside: Mask) -> Mask:
    """Return `inside` as bool (H, W). Raises OptionError if its shape is not the heat's, or if it has no pixel."""
    mask = np.asarray(inside, bool)
    if mask.shape != heat.shape:
        raise OptionError(f"the mask has {_size(mask)} pixels and the heat {_size(heat)}: give both for one image")
    if not mask.any():
        raise OptionError("the mask has no pixel: without an object, heat can neither hit nor miss it")
    return mask


def _size(values: npt.NDArray[np.generic]) -> str:
    return " x ".join(map(str, values.shape[::-1]))
