"""The size that a compressed picture inside another file declares. Its decoder makes this size, whatever the file says.

A TIFF or DICOM file of 10 x 10 pixels may hold a JPEG 2000 of a gigapixel.
"""

import struct

from camserve.images.jpeg_xl import header


def coded_size(data: bytes) -> tuple[int, int] | None:
    """(W, H) of a JPEG, JPEG 2000, JPEG XL, PNG, WebP or LERC; None for other formats, or if no size is found."""
    if data.startswith(b"\xff\xd8"):
        return _of_jpeg(data)
    if data.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return header(data)[0]
    if data.startswith(b"\x89PNG"):
        return _two(">II", data, 16)
    if data.startswith(b"RIFF"):
        return _of_webp(data)
    if data.startswith(b"Lerc2 "):
        version = struct.unpack_from("<i", data, 6)[0]
        height, width = struct.unpack_from("<ii", data, 14 if version >= 3 else 10)
        return width, height
    at = data.find(b"\xff\x4f\xff\x51")  # JPEG 2000, with or without its container
    if at >= 0:
        right, bottom, left, top = struct.unpack_from(">IIII", data, at + 8)
        return right - left, bottom - top
    return None


def _of_jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:  # 0xF7: JPEG-LS
            height, width = _two(">HH", data, at + 5)
            return width, height
        at += 2 + length
    return None


def _of_webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = _two("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _two(form: str, data: bytes, at: int) -> tuple[int, int]:
    first, second = struct.unpack_from(form, data, at)
    return first, second
