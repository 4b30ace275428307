"""Decode plain JPEGs into an array with simplejpeg, if it is installed: the same pixels as Pillow, bit for bit.

Both use libjpeg-turbo. Pillow is slower: it decodes piece by piece into an image of 4 bytes a pixel and then copies it.
"""

from functools import lru_cache
from typing import Any

from PIL.JpegImagePlugin import JpegImageFile

from camserve.images.arrays.pixel_arrays import Pixels

# Entries that Pillow reads from the header and that may mean unusual colours
_OTHER_COLOURS = ("adobe", "icc_profile", "transparency")


def quick_pixels(data: bytes, opened: JpegImageFile) -> Pixels | None:
    """The pixels (H, W, 3) of a JPEG that Pillow has opened and not loaded; None if Pillow must decode it.

    Pillow must decode it if simplejpeg is not installed, if the JPEG is not plain RGB or grey, and after any error or
    warning; so damaged files always have Pillow's pixels or errors. Raises MemoryError.
    """
    library = _simplejpeg()
    if library is None or opened.mode not in ("RGB", "L") or any(key in opened.info for key in _OTHER_COLOURS):
        return None
    try:
        pixels: Pixels = library.decode_jpeg(data, "RGB")
    except MemoryError:
        raise
    except Exception:
        return None
    width, height = opened.size
    return pixels if pixels.shape == (height, width, 3) else None


@lru_cache(maxsize=1)
def _simplejpeg() -> Any:
    """The library; None if it is not installed."""
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg
