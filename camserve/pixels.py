"""Pixels of every mode, and arrays, to upright RGB; nothing here opens or saves a file.

Conversion goes strip by strip: of a large picture only the one that is handed over exists whole.
"""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ExifTags import Base as Tag

from camserve.errors import ImageError

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_STRIP = 2**20  # pixels converted at a time: what bounds the temporaries


def from_array(array: npt.NDArray[Any]) -> Image.Image:
    """A uint8 array (H, W), (H, W, 3) RGB or (H, W, 4) RGBA as a Pillow image that may share its memory.

    Raises ImageError for any other.
    """
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,), (4,)):
        raise ImageError(
            f"an array of {array.dtype} {array.shape} is no picture; allowed is uint8 in the shape (H, W), "
            "(H, W, 3) or (H, W, 4). Try array.transpose(1, 2, 0) of a (3, H, W), "
            "(255 * array).astype('uint8') of values 0..1."
        )
    return Image.fromarray(np.ascontiguousarray(array))


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What makes a loaded image upright; nothing for a TIFF, which Pillow turns while loading."""
    try:
        return _TURNS.get(image.getexif().get(Tag.Orientation, 1))
    except Exception:  # broken EXIF costs the turn, not the picture
        return None


def to_rgb(image: Image.Image) -> Image.Image:
    """A bare RGB image: a reader's own holds on to the encoded bytes and, of WebP, to two canvases.

    RGB pixels are handed over, others are converted.
    """
    image.load()
    if image.mode == "RGB" and not image.has_transparency_data:
        bare = image._new(image.im)
        bare.info.clear()
        return bare
    flat = Image.new("RGB", image.size, "white")
    span = _span(image) if image.mode[0] in "IF" else None
    for box in strips(image.size):
        strip = image.crop(box)
        if span:
            flat.paste(_scaled(strip, *span), box)
        elif strip.has_transparency_data:
            strip = _with_alpha(strip)
            flat.paste(strip, box, strip)
        else:
            flat.paste(strip.convert("RGB"), box)
    return flat


def strips(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of whole rows, about a megapixel each, from top to bottom."""
    width, height = size
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)


def _with_alpha(strip: Image.Image) -> Image.Image:
    key = strip.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:  # of a 16-bit PNG, whose pixels Pillow has cut to 8 bits
        strip.info["transparency"] = tuple(value >> 8 for value in key)
    return (strip.convert("LA") if strip.mode == "La" else strip).convert("RGBA")


def _span(image: Image.Image) -> tuple[float, float]:
    """The values that mean black and white in an image of mode I;16 (any byte order), I or F."""
    if image.mode.startswith("I;16"):
        return 0, 65535
    low, high = cast(tuple[float, float], image.getextrema())
    whites = (255, 65535) if image.mode == "I" else (1, 255, 65535)
    return next(((0, white) for white in whites if low >= 0 and high <= white), (low, high))


def _scaled(strip: Image.Image, black: float, white: float) -> Image.Image:
    values = np.asarray(strip).astype(np.float64)
    if not np.isfinite(values).all():
        raise ImageError("the image has values that are NaN or infinite; allowed are numbers")
    grey = np.rint((values - black) * 255 / ((white - black) or 1))  # all values alike: black
    key = strip.info.get("transparency")
    return Image.fromarray((grey if key is None else np.where(values == key, 255, grey)).astype(np.uint8))
