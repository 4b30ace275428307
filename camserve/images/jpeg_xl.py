"""JPEG XL by pillow-jxl-plugin.

Its decoder is called directly, because its reader for Pillow turns some pictures twice. libjxl turns the picture as the
codestream says. The standard (ISO/IEC 18181-2) then ignores EXIF's orientation. A JPEG that was packed as JPEG XL is
returned as the original JPEG. Importing the plugin registers it in Pillow, and this cannot be prevented: from then on
Image.open reads JPEG XL in this process.
"""

import struct
from collections.abc import Iterator

import numpy as np
from PIL import Image

from camserve.errors import ImageError
from camserve.images.extras import Decoded, missing
from camserve.images.limits import Limits, check_size

_SIZES = (9, 13, 18, 30)  # bits of a side
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height
_NUMBERS = {"I;16": "<u2", "F": "<f4", "F;16": "<f2"}  # {mode without 8 bits: dtype}; RGB always has 8 bits


def read_jpeg_xl(data: bytes, name: str, limits: Limits) -> Decoded | bytes:
    """The picture, or the bytes of the JPEG that it was made from.

    Raises ImageTypeError without the plugin, ImageError for an animation, and the plugin's errors for damaged bytes.
    """
    try:
        from pillow_jxl import Decoder
    except ImportError:
        raise missing(name, "a JPEG XL picture", "pillow-jxl-plugin") from None
    size, is_animated = header(data)
    check_size(size, repr(name), limits)
    if is_animated:  # the plugin would decode all pictures and return the last
        raise ImageError(
            f"{name!r} is a JPEG XL animation; allowed is a single picture. Try saving its first picture as PNG."
        )
    was_jpeg, info, pixels, profile, _ = Decoder(num_threads=0)(data)
    if was_jpeg:
        return bytes(pixels)
    if info.mode in _NUMBERS:
        values = np.frombuffer(pixels, _NUMBERS[info.mode]).reshape(info.height, info.width, 1)
        return Decoded(values, [], bytes(profile or b""), colours=1)
    image = Image.frombytes(info.mode, (info.width, info.height), pixels)
    return Decoded(image, [], bytes(profile or b""))


def header(data: bytes) -> tuple[tuple[int, int], bool]:
    """The size (W, H) as stored, and whether it is an animation. Raises ValueError, struct.error if it is broken."""
    bits = _Bits(_codestream(data)[2:100])
    size = _size(bits)
    if bits.take(1) or not bits.take(1):  # only default values, or no extra fields
        return size, False
    bits.take(3)  # orientation
    if bits.take(1):
        _size(bits)  # intrinsic size, for display
    has_preview = bits.take(1)
    return size, not has_preview and bool(bits.take(1))


def _size(bits: "_Bits") -> tuple[int, int]:
    small = bits.take(1)

    def side() -> int:
        return 8 * (bits.take(5) + 1) if small else bits.take(_SIZES[bits.take(2)]) + 1

    height, ratio = side(), bits.take(3)
    if not ratio:
        return side(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _codestream(data: bytes) -> bytes:
    """At least the beginning of the codestream."""
    if data.startswith(b"\xff\x0a"):
        return data
    for kind, begin, end in _boxes(data):
        if kind in (b"jxlc", b"jxlp"):
            return data[begin + 4 * (kind == b"jxlp") : end]
    raise ValueError("truncated: no codestream")


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, begin, end) of each box of the container."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        begin = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, begin)
            begin += 8
        end = at + size if size else len(data)
        if end <= at:
            return
        yield kind, begin, end
        at = end


class _Bits:
    """Reads numbers of given bit widths; the lowest bit comes first."""

    def __init__(self, data: bytes) -> None:
        self._left, self._count = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        """The next number."""
        if count > self._count:
            raise ValueError("truncated: the header is cut off")
        value = self._left & ((1 << count) - 1)
        self._left >>= count
        self._count -= count
        return value
