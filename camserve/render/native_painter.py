"""Call painter.c, if it was compiled when camserve was installed: the overlay in one pass per row.

painting.py does the same with numpy and Pillow, bit for bit, if there is no compiled library or if the setting
render.native is off. ctypes calls the library, so that other threads can run meanwhile.
"""

import ctypes
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from camserve.geometry.laid import Lines

Pixels = npt.NDArray[np.uint8]

LIBRARY = Path(__file__).with_name("painter.so")


class _Laid(ctypes.Structure):
    _fields_ = (
        ("values", ctypes.c_void_p),
        ("before", ctypes.c_void_p),
        ("share", ctypes.c_void_p),
        ("count", ctypes.c_int64),
    )


@lru_cache(maxsize=1)
def painter() -> ctypes.CDLL | None:
    """Load the library; None if it was not compiled, or if it was compiled for another kind of machine."""
    try:
        library = ctypes.CDLL(str(LIBRARY))
        library.paint_rows.argtypes = [
            *(ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.POINTER(_Laid), ctypes.POINTER(_Laid)),
            *(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p),
        ]
        library.start_canvas.argtypes = [
            *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64),
            *(ctypes.c_void_p, ctypes.c_void_p),
        ]
    except (OSError, AttributeError):
        return None
    return library


def described(*, native: bool) -> str:
    """Return as text which painter runs. native: the setting."""
    if not native:
        return "numpy (render.native is off)"
    return "compiled code" if painter() is not None else "numpy (there was no C compiler when camserve was installed)"


def start_canvas(pixels: Pixels, block: int) -> tuple[Pixels, Pixels]:
    """Copy contiguous pixels (H, W, 3) to (H, W, 4), and compute their means over blocks of pixels, (h, w, 3).

    The means equal those of Pillow's `Image.reduce`; the last blocks may be smaller. block: the side of a block, a
    power of two.
    """
    library, (height, width, _) = painter(), pixels.shape
    assert library is not None  # the callers check this
    memory = np.empty((height, width, 4), np.uint8)
    sums = np.zeros((-(-height // block), -(-width // block), 3), np.uint32)
    room = np.empty(3 * width, np.uint16)
    library.start_canvas(
        *(pixels.ctypes.data, memory.ctypes.data, width, height, block),
        *(sums.ctypes.data, room.ctypes.data),
    )
    down, across = (np.minimum(block, side - np.arange(0, side, block)) for side in (height, width))
    pixels_each = (down[:, None] * across).astype(np.uint32)[..., None]
    # divide as Pillow does: multiply by 2^32 / (256 n), which float32 rounds to 24 bits
    share = (np.float32(2**32) / (256 * pixels_each).astype(np.float32)).astype(np.uint32)
    return memory, ((sums + pixels_each // 2) * share >> 24).astype(np.uint8)


def paint_strip(
    memory: Pixels,
    rows: tuple[int, int],
    heat: Lines | npt.NDArray[np.float32],
    around: Lines,
    inks: npt.NDArray[np.uint32],
    veil: npt.NDArray[np.uint8],
    *,
    signed: bool,
) -> bool:
    """Paint rows first..last-1 of pixels (H, W, 4). Returns whether the model saw all of them.

    heat: of the whole picture, or of these rows. around: the mean luminance around each pixel of the whole picture.
    inks: RGB and opacity of each of 256 levels, as one number in memory order. veil: the grey of each luminance where
    the model saw nothing.
    """
    library, (first, last), width = painter(), rows, memory.shape[1]
    assert library is not None
    room = np.empty(4 * width, np.float32)
    heat = heat if isinstance(heat, Lines) else np.ascontiguousarray(heat, np.float32)
    above = _from(heat, first) if isinstance(heat, Lines) else _Laid(heat.ctypes.data, None, None, len(heat))
    part = memory[first:last]
    seen = library.paint_rows(
        *(part.ctypes.data, width, last - first, above, _from(around, first), signed),
        *(inks.ctypes.data, veil.ctypes.data, room.ctypes.data),
    )
    return bool(seen)


def _from(lines: Lines, first: int) -> _Laid:
    """Return lines from row `first` on as C takes them. The caller must keep the arrays alive."""
    values, before, share = lines
    start = first * before.itemsize
    return _Laid(values.ctypes.data, before.ctypes.data + start, share.ctypes.data + start, len(values))
