"""Which of a picture's values is black and which is white, for pictures of more than 8 bits.

The rule, in docs/python.md too. Nearly all means all but a thousandth at either end.

1. Whole numbers that start at 0 are taken to have 8, 10, 12, 14 or 16 bits, the fewest that hold nearly all:
   cameras and scanners keep 10 to 14 bits in 16. Of signed 16 bits, the last are 15; of 32 bits there are no
   more than 16 to choose from.
2. Floats run from 0 to 1, 255 or 65535, the first that nearly all keep to but for a twentieth, where they use
   a quarter of it.
3. What fits neither, lies below 0, or is a narrow band far from 0, runs from the least to the greatest of
   nearly all.

The first two depend on a kind of file rather than on one picture, so that pictures of one series are shown alike.
Whatever is not the whole range of the numbers is said.
"""

from math import gcd
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from camserve.errors import ImageError

_OUTSIDE = 1000  # one value in so many may lie outside, at either end
_LOOKED_AT = 2**20  # pixels, at most: sorting more takes long and says the same
_DEPTHS = (8, 10, 12, 14, 16)
_OVERSHOOT = 0.05  # of white: how far floats may lie outside, as resampling a picture 0 to 1 leaves them


class Window(NamedTuple):
    """The values of black and of white; note: what is to be said of it, if anything."""

    black: float
    white: float
    note: str | None = None


def window_of(values: npt.NDArray[Any], depth: int | None = None) -> Window:
    """The window of a picture (H, W) or (H, W, colours).

    depth: the bits of its whole numbers, where the file says so; then there is nothing to choose.
    """
    if depth:
        return Window(0, 2.0**depth - 1)
    low, high = bounds(values)
    whole = values.dtype.kind in "iu"
    whites = _whites(values.dtype)
    slack = 0 if whole else _OVERSHOOT
    white = next((white for white in whites if high <= white * (1 + slack)), None)
    if white is None or low < -slack * white or _is_narrow(low, high, white, whole):
        return Window(low, high, _range_note(low, high))
    least, greatest = float(values.min()), float(values.max())
    beyond = "; what lies outside is black or white" if least < 0 or greatest > white else ""
    if white == (whites[-1] if whole and values.itemsize < 4 else 1):
        note = f"its values go from {least:g} to {greatest:g}, taken as 0 to {white:g}{beyond}" if beyond else None
        return Window(0, white, note)
    return Window(0, white, _depth_note(high, white, values.dtype) + beyond)


def first_white(values: npt.NDArray[Any]) -> float:
    """What is opaque in numbers (H, W) of transparency: the first white that nearly all keep to."""
    high = bounds(values)[1]
    return next((white for white in _whites(values.dtype) if high <= white), high)


def _whites(dtype: np.dtype[Any]) -> list[float]:
    """The values that may be white, in rising order."""
    if dtype.kind == "f":
        return [1, 255, 65535]
    bits = dtype.itemsize * 8 - (dtype.kind == "i")
    depths = [*(k for k in _DEPTHS if k < bits), *([bits] if bits <= 16 else [])]
    return [2.0**k - 1 for k in depths]


def bounds(values: npt.NDArray[Any]) -> tuple[float, float]:
    """The least and the greatest of nearly all of the values."""
    seen = _some(values).reshape(-1)
    if seen.dtype.kind == "f" and not np.isfinite(seen).all():
        raise not_numbers()
    outside = seen.size // _OUTSIDE
    ordered = np.partition(seen, (outside, seen.size - 1 - outside))
    return float(ordered[outside]), float(ordered[-1 - outside])


def not_numbers() -> ImageError:
    """What is raised of a picture that has values that are none."""
    return ImageError("the image has values that are NaN or infinite; allowed are numbers")


def _some(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Pixels evenly from everywhere; never every time the same columns."""
    pixels = values.reshape(values.shape[0] * values.shape[1], -1)
    step = -(-len(pixels) // _LOOKED_AT)
    while step > 1 and gcd(step, values.shape[1]) > 1:
        step += 1
    return pixels[::step]


def _is_narrow(low: float, high: float, white: float, whole: bool) -> bool:
    """Whether a window from 0 to `white` would show next to nothing of a picture that is not all alike."""
    dark = not whole and high < white / 4
    return high > low and (dark or (low > white / 8 and high - low < white / 8))


def _depth_note(high: float, white: float, dtype: np.dtype[Any]) -> str:
    if dtype.kind == "f":
        return f"the picture's floats reach {high:g}, so black is 0 and white {white:g}"
    bits = int(white + 1).bit_length() - 1
    return (
        f"the picture's {dtype.itemsize * 8}-bit values reach {high:.0f}, so it was read as one of {bits} bits: "
        f"black is 0 and white {white:.0f}"
    )


def _range_note(low: float, high: float) -> str:
    return (
        f"the picture does not say which of its values are black and white, so {low:g} is black and {high:g} white, "
        "between which nearly all lie; another picture of its series may be shown otherwise"
    )
