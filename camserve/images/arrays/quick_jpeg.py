"""Plain JPEGs straight into an array, by simplejpeg where it is installed: the pixels that Pillow gives, bit for bit.

Both are libjpeg-turbo; Pillow decodes piece by piece into an image of 4 bytes a pixel, which then is copied.
"""

from functools import lru_cache
from typing import Any

from PIL.JpegImagePlugin import JpegImageFile

from camserve.images.arrays.pixel_arrays import Pixels

# What Pillow has read in the header that may mean other colours than the usual ones
_OTHER_COLOURS = ("adobe", "icc_profile", "transparency")


def quick_pixels(data: bytes, opened: JpegImageFile) -> Pixels | None:
    """The pixels (H, W, 3) of a JPEG that Pillow has opened and not loaded; None where Pillow shall decode it.

    That is without simplejpeg, for what is neither plain colours nor plain grey, and at the least error or warning, so
    that of damaged files there are Pillow's pixels or Pillow's words. Raises MemoryError.
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
    """The library; None where it is not installed."""
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg
