"""Heat as metrics read it: what was not seen has none, and what is of equal heat is put in a seeded order."""

import numpy as np
import numpy.typing as npt

from camserve.errors import OptionError

Float = npt.NDArray[np.floating]
Float64 = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


def seen(heat: Float) -> Float64:
    """Heat (H, W), raw and signed, in float64; 0 where it is NaN: pixels that the model did not see."""
    return np.where(np.isnan(heat), 0, heat).astype(np.float64)


def positive(heat: Float) -> Float64:
    """The positive part of heat (H, W): what is drawn in colours."""
    return np.maximum(seen(heat), 0)


def unit(heat: Float) -> Float64:
    """The positive part over its maximum, 0..1; zeros where there is none."""
    part = positive(heat)
    return part / part.max() if part.max() > 0 else part


def hottest_first(heat: Float, seed: int = 0) -> Indices:
    """Flat indices of all pixels, by falling signed heat; equal heat in an order that `seed` alone says."""
    values = seen(heat).ravel()
    return np.lexsort((np.random.default_rng(seed).permutation(values.size), -values))


def area_under(y: Float, x: Float) -> float:
    """The integral of y over x by trapezoids, both (n,)."""
    return float(((y[1:] + y[:-1]) / 2) @ np.diff(x))


def object_mask(heat: Float, inside: Mask) -> Mask:
    """`inside` as bool (H, W). Raises OptionError where it has another shape than the heat, or no pixel."""
    mask = np.asarray(inside, bool)
    if mask.shape != heat.shape:
        raise OptionError(f"the mask is {_size(mask)} pixels and the heat {_size(heat)}: give both of one image")
    if not mask.any():
        raise OptionError("the mask has no pixel: where there is no object, heat can neither hit nor miss it")
    return mask


def _size(values: npt.NDArray[np.generic]) -> str:
    return " x ".join(map(str, values.shape[::-1]))
