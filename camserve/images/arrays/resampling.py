"""Resize pixels with the same bits as torch's `interpolate(antialias=True)` for 8-bit images, without torch.

The filter is a triangle, or a cubic with a = -0.5. It is as wide as the step between output pixels or between input
pixels, whichever is larger. Its weights are rounded to 16 bits. It goes along the rows first, then along the columns,
and rounds to 8 bits after each. Pillow's weights have 22 bits, so about one of 200 values differs by 1.

resampler.c resizes if camserve was installed with a C compiler and the processor has AVX2. Otherwise numpy makes the
same numbers, because all its sums are exact, in a few times the time.
"""

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Float64 = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]

LIBRARY = Path(__file__).with_name("resampler.so")
# {filter: half its width, in steps}
_REACHES = {"bilinear": 1, "bicubic": 2}
FILTERS = tuple(_REACHES)
# How many outputs numpy makes in one product (their inputs lie near each other), and how many rows.
_OUTPUTS, _ROWS = 32, 256


class Weights(NamedTuple):
    """Output i is the sum over j of weights[i, j] * input[first[i] + j], divided by 2^bits.

    first: int32 (outputs,). weights: int16 (outputs, n), n a multiple of 4; 0 after the end of a shorter filter.
    taps: int32 (outputs,), how many weights each output uses.
    """

    first: npt.NDArray[np.int32]
    taps: npt.NDArray[np.int32]
    weights: npt.NDArray[np.int16]
    bits: int


def resample(pixels: Pixels, size: tuple[int, int], filter: str, box: Box | None = None) -> Pixels:
    """Resize pixels (H, W), (H, W, 3) or (H, W, 4) to (h, w) or (h, w, 3). The fourth channel is left out.

    size: (w, h). filter: one of FILTERS. box: (left, top, right, bottom), the part of the pixels that is resized, with
    fractions of a pixel; default all of them. As in Pillow, pixels just outside the box count at its edges.
    """
    colours = pixels[..., None] if pixels.ndim == 2 else pixels
    height, width = colours.shape[:2]
    left, top, right, bottom = box or (0, 0, width, height)
    across, down = weights_of(width, size[0], filter, left, right), weights_of(height, size[1], filter, top, bottom)
    above, below = int(down.first[0]), int(down.first[-1] + down.taps[-1])
    colours, down = colours[above:below], down._replace(first=down.first - np.int32(above))
    library = resampler() if colours.shape[2] in (3, 4) and colours.size else None
    if library is None:
        made = _by_numpy(colours[..., :3], across, down)
    else:
        made = _by_library(library, np.ascontiguousarray(colours), across, down)
    return made[..., 0] if pixels.ndim == 2 else made


@lru_cache(maxsize=128)
def weights_of(given: int, wanted: int, filter: str, start: float, end: float) -> Weights:
    """The weights that resize the part from `start` to `end` of a line of `given` pixels to `wanted` pixels."""
    step = (end - start) / wanted
    reach = _REACHES[filter] * max(step, 1.0)
    centres = start + step * (np.arange(wanted) + 0.5)
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    taps = np.minimum((centres + reach + 0.5).astype(np.int64), given) - first
    each = np.arange(-(-int(taps.max()) // 4) * 4)
    distances = (each + first[:, None] - centres[:, None] + 0.5) * (1 / step if step >= 1 else 1.0)
    shares = np.where(each < taps[:, None], _filters(distances, filter), 0)
    shares /= np.add.accumulate(shares, 1)[:, -1:]  # adds them one after the other, as torch does
    bits = next((bits for bits in range(22) if int(0.5 + shares.max() * 2 ** (bits + 1)) >= 2**15), 22)
    rounded = np.trunc(shares * 2**bits + np.where(shares < 0, -0.5, 0.5)).astype(np.int16)
    return Weights(first.astype(np.int32), taps.astype(np.int32), rounded, bits)


def _filters(distances: Float64, filter: str) -> Float64:
    x = np.abs(distances)
    if filter == "bilinear":
        triangle: Float64 = np.maximum(1 - x, 0)
        return triangle
    a = -0.5
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * a
    values: Float64 = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    return values


def _by_numpy(colours: Pixels, across: Weights, down: Weights) -> Pixels:
    """(H, W, c) -> (h, w, c)."""
    height, _, count = colours.shape
    planes = np.empty((count, height, len(across.first)), np.uint8)
    for top in range(0, height, _ROWS):
        strip = colours[top : top + _ROWS].transpose(2, 0, 1)
        planes[:, top : top + _ROWS] = _summed(strip.transpose(0, 2, 1), across).transpose(0, 2, 1)
    return np.ascontiguousarray(_summed(planes, down).transpose(1, 2, 0))


def _summed(lines: Pixels, by: Weights) -> Pixels:
    """(c, given, n) -> (c, wanted, n). The chosen dtype makes every sum exact, so the order does not matter."""
    kind = np.float32 if 255 * int(np.abs(by.weights.astype(np.int64)).sum(1).max()) < 2**24 else np.float64
    made = np.empty((len(lines), len(by.first), lines.shape[2]), np.uint8)
    for start in range(0, len(by.first), _OUTPUTS):
        first, taps = by.first[start : start + _OUTPUTS], by.taps[start : start + _OUTPUTS]
        low, high = int(first[0]), int((first + taps).max())
        band = np.zeros((len(first), high - low), kind)
        for row, (begin, count, weights) in enumerate(zip(first - low, taps, by.weights[start:], strict=False)):
            band[row, begin : begin + count] = weights[:count]
        sums = np.matmul(band, lines[:, low:high].astype(kind))
        sums += kind(2 ** (by.bits - 1))
        sums *= kind(2.0**-by.bits)
        made[:, start : start + _OUTPUTS] = np.clip(np.floor(sums, out=sums), 0, 255, out=sums)
    return made


@lru_cache(maxsize=1)
def resampler() -> ctypes.CDLL | None:
    """The compiled library; None if it was not compiled, or this processor cannot run it."""
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    try:
        library = ctypes.CDLL(str(LIBRARY))
        if not library.can_resample():
            return None
        weights = (pointer, pointer, pointer, number, ctypes.c_int)
        library.resample_columns.argtypes = (pointer, number, number, number, pointer, number, *weights, pointer)
        library.resample_rows.argtypes = (pointer, number, number, pointer, number, *weights)
    except (OSError, AttributeError):
        return None
    return library


def _by_library(library: ctypes.CDLL, colours: Pixels, across: Weights, down: Weights) -> Pixels:
    height, width, count = colours.shape
    most, wide, high = across.weights.shape[1], len(across.first), len(down.first)
    middle, made = np.empty((height, wide, 3), np.uint8), np.empty((high, wide, 3), np.uint8)
    room = np.empty(count * width + 64, np.uint8)
    fours, twos = -(-across.taps // 4), -(-down.taps // 2)
    library.resample_columns(
        *(colours.ctypes.data, height, width, count, middle.ctypes.data, wide, across.first.ctypes.data),
        *(fours.ctypes.data, across.weights.ctypes.data, most // 4, across.bits, room.ctypes.data),
    )
    library.resample_rows(
        *(middle.ctypes.data, height, 3 * wide, made.ctypes.data, high, down.first.ctypes.data),
        *(twos.ctypes.data, down.weights.ctypes.data, down.weights.shape[1] // 2, down.bits),
    )
    return made
