"""Choose the value that is black and the value that is white, for pictures of more than 8 bits.

docs/pictures.md has these rules as a table. "Nearly all" values means all except a thousandth at each end.

1. Integers from 0 up are read as numbers of 8, 10, 12, 14 or 16 bits: the fewest bits that hold nearly all
   values, because cameras and scanners store 10 to 14 bits in 16. Signed 16-bit numbers have at most 15 bits. For
   32-bit numbers, the choice also ends at 16 bits.
2. Floats go from 0 to 1, 255 or 65535: the first that nearly all values stay below, or exceed by at most a twentieth.
   They must use at least a quarter of it.
3. In all other cases (larger values, values below 0, a narrow range far from 0), the window goes from the smallest to
   the largest of nearly all values.

Rules 1 and 2 depend mostly on the kind of file, so pictures of one series look alike. A note says so if the window is
not the whole range of the numbers.
"""

from math import gcd
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from camserve.errors import ImageError

_OUTSIDE = 1000  # one of so many values may lie outside, at each end
_LOOKED_AT = 2**20  # most pixels that are read: sorting more takes longer and gives the same result
_DEPTHS = (8, 10, 12, 14, 16)
_OVERSHOOT = 0.05  # share of white by which floats may lie outside, because resampling a picture 0..1 overshoots


class Window(NamedTuple):
    """The values of black and of white. note: a sentence for the user, or None."""

    black: float
    white: float
    note: str | None = None


def window_of(values: npt.NDArray[Any], depth: int | None = None) -> Window:
    """The window of a picture (H, W) or (H, W, colours).

    depth: the bits of its integers, if the file says so; the window is then their whole range.
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
    """The value that means opaque in numbers (H, W) of transparency: the first white that nearly all stay below."""
    high = bounds(values)[1]
    return next((white for white in _whites(values.dtype) if high <= white), high)


def _whites(dtype: np.dtype[Any]) -> list[float]:
    """The possible values of white, in rising order."""
    if dtype.kind == "f":
        return [1, 255, 65535]
    bits = dtype.itemsize * 8 - (dtype.kind == "i")
    depths = [*(k for k in _DEPTHS if k < bits), *([bits] if bits <= 16 else [])]
    return [2.0**k - 1 for k in depths]


def bounds(values: npt.NDArray[Any]) -> tuple[float, float]:
    """The smallest and the largest of nearly all values. Raises ImageError for values that are NaN or infinite."""
    seen = _some(values).reshape(-1)
    if seen.dtype.kind == "f" and not np.isfinite(seen).all():
        raise not_numbers()
    outside = seen.size // _OUTSIDE
    ordered = np.partition(seen, (outside, seen.size - 1 - outside))
    return float(ordered[outside]), float(ordered[-1 - outside])


def not_numbers() -> ImageError:
    """The error to raise for a picture with values that are NaN or infinite."""
    return ImageError("the image has values that are NaN or infinite; allowed are finite numbers")


def _some(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Pixels spread evenly over the picture; the step is chosen so that rows use different columns."""
    pixels = values.reshape(values.shape[0] * values.shape[1], -1)
    step = -(-len(pixels) // _LOOKED_AT)
    while step > 1 and gcd(step, values.shape[1]) > 1:
        step += 1
    return pixels[::step]


def _is_narrow(low: float, high: float, white: float, whole: bool) -> bool:
    """Whether a window from 0 to `white` would show almost no contrast, though the values differ."""
    dark = not whole and high < white / 4
    return high > low and (dark or (low > white / 8 and high - low < white / 8))


def _depth_note(high: float, white: float, dtype: np.dtype[Any]) -> str:
    if dtype.kind == "f":
        return f"the picture's floats reach {high:g}, so black is 0 and white {white:g}"
    bits = int(white + 1).bit_length() - 1
    return (
        f"the picture's {dtype.itemsize * 8}-bit values reach {high:.0f}, so they are read as {bits}-bit values: "
        f"black is 0 and white {white:.0f}"
    )


def _range_note(low: float, high: float) -> str:
    return (
        f"the picture does not say which of its values are black and white, so {low:g} is black and {high:g} is white; "
        "nearly all values lie between them; another picture of its series may get other limits"
    )
