"""Fast PNG for the service: one filter for all rows, compressed by ISA-L.

Pillow tries five filters for each row and compresses with zlib. That takes many times as long (benchmarks/cost.py) and
makes files a few per cent smaller. Format: PNG specification (W3C, third edition); the tests read it with Pillow.
"""

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from isal import isal_zlib
from PIL import Image

from camserve.images.arrays.pixel_arrays import strips

_COLOUR_TYPES = {"L": 0, "RGB": 2, "LA": 4, "RGBA": 6}
_UP = 2  # the filter that subtracts from each byte the byte above it


def png_bytes(image: Image.Image) -> bytes:
    """`image` (L, LA, RGB or RGBA) as a PNG file."""
    header = struct.pack(">IIBBBBB", *image.size, 8, _COLOUR_TYPES[image.mode], 0, 0, 0)
    packer = isal_zlib.compressobj(1)
    pixels = b"".join((*(packer.compress(rows.data) for rows in _filtered(image)), packer.flush()))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _filtered(image: Image.Image) -> Iterator[npt.NDArray[np.uint8]]:
    """Strips of rows ready for compression: for each row the number of the filter and the filtered bytes."""
    above = np.zeros(image.width * len(image.getbands()), np.uint8)
    for box in strips(image.size):
        rows = np.asarray(image.crop(box)).reshape(box[3] - box[1], -1)
        filtered = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
        filtered[:, 0] = _UP
        np.subtract(rows[0], above, out=filtered[0, 1:])
        np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
        above = rows[-1]
        yield filtered


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", isal_zlib.crc32(data, isal_zlib.crc32(kind)))
