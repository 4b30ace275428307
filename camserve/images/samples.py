"""The numbers of a TIFF page that Pillow cannot unpack or unpacks wrongly.

Pillow 13 reads 16-bit planar pages as noise, swaps the bytes of big-endian compressed pages, reads large unsigned
numbers as negative ones and ignores that white is zero. So camserve unpacks every page that is not 8 bits and unsigned.
It uses Pillow's decompressors: Pillow gets the strips as pictures of single bytes, which it reads correctly.
"""

import io
import math
import struct
import zlib
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from camserve.errors import ImageError, ImageTooLarge
from camserve.images.limits import Limits
from camserve.images.tiff import Page

_DTYPES = {
    ("unsigned", 8): "u1",
    ("unsigned", 16): "u2",
    ("unsigned", 32): "u4",
    ("unsigned", 64): "u8",
    ("signed", 8): "i1",
    ("signed", 16): "i2",
    ("signed", 32): "i4",
    ("signed", 64): "i8",
    ("float", 16): "f2",
    ("float", 32): "f4",
    ("float", 64): "f8",
}
_LOSSLESS = (5, 32773, 34925, 50000)  # compressions that Pillow's library unpacks
UNPACKED = (1, 8, 32946, *_LOSSLESS)
_PACKED = (*range(1, 8), *range(9, 16))  # bits of samples that are stored without gaps between them
_MOST_BYTES = 8  # allowed bytes for each of the allowed pixels; limits the memory
_MOST_AT_ONCE = 2**27  # most bytes of a strip that Pillow unpacks, because Pillow limits the pixels
_TOGETHER = 2**22  # bytes that are unpacked together, because there may be many tiny strips
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def is_ours(page: Page) -> bool:
    """Whether `read_samples` must read or refuse the page.

    It must if the samples are not unsigned numbers of up to 8 bits; if Pillow would mistake the bit depth or white
    (planar, uncompressed), guess that zero is white, or not open the file; or if the page exceeds Pillow's own limit.
    """
    simple = page.photometric in (0, 1, 2, 5) and page.one("compression", 1) in UNPACKED
    confused = page.one("planar", 1) == 2 and page.one("compression", 1) == 1 and (simple or page.bits < 8)
    unsaid = "photometric" not in page.tags and simple
    rare = simple and page.bits < 8 and (page.samples > 1 or page.bits not in (1, 2, 4))
    vast = simple and math.prod(page.size) > 2 * (Image.MAX_IMAGE_PIXELS or math.inf)
    other = not 0 < page.bits <= 8 or page.format != "unsigned"
    return other or confused or unsaid or rare or vast or (page.big and page.order == ">")


def read_samples(data: bytes, page: Page, name: str, limits: Limits) -> npt.NDArray[Any]:
    """The unchanged numbers of a page, (H, W, samples).

    Raises ImageError for a kind that camserve does not read, ImageTooLarge for more than the allowed pixels at 8 bytes
    each. Any other error means that the file is damaged.
    """
    dtype = _dtype(page, name)
    (width, height), planes = page.size, page.samples if _is_planar(page) else 1
    check_bytes(page, dtype.itemsize, name, limits)
    values = np.empty((height, width, page.samples), dtype)
    for plane in range(planes):
        target = values[..., plane : plane + 1] if planes > 1 else values
        for top, left, part in _parts(data, page, plane):
            room = target[top : top + part.shape[0], left : left + part.shape[1]]
            room[...] = part[: room.shape[0], : room.shape[1]]
    return values


def _dtype(page: Page, name: str) -> np.dtype[Any]:
    """The dtype of the numbers in memory. Raises ImageError if there is none, or camserve does not read the packing."""
    known = _DTYPES.get((page.format, page.bits))
    if page.format == "unsigned" and page.bits in _PACKED and page.one("predictor", 1) == 1:
        known = "u1" if page.bits < 8 else "u2"
    packing, predictor = page.one("compression", 1), page.one("predictor", 1)
    fits = predictor == 1 or (predictor == 2 and page.format != "float") or (predictor == 3 and page.format == "float")
    if not known or not fits or packing not in UNPACKED:
        raise not_ours(page, name)
    return np.dtype(known)


def check_bytes(page: Page, size: int, name: str, limits: Limits) -> None:
    """Raises ImageTooLarge if the page, with samples of `size` bytes, has more bytes than allowed."""
    tile = page.one("tile_width", 0) * page.one("tile_height", 0)
    needed, allowed = max(page.size[0] * page.size[1], tile) * page.samples * size, limits.pixels * _MOST_BYTES
    if needed > allowed:
        raise ImageTooLarge(
            f"{name!r} has {needed / 1e6:.4g} MB of pixels ({page}); allowed are {allowed / 1e6:.4g}, "
            f"8 bytes for each of {limits.setting}. Try a smaller copy, or one of 8 bits."
        )
    if page.one("compression", 1) in _LOSSLESS and needed > _MOST_AT_ONCE:
        _, rows, row = _cut(page)
        if row * rows > _MOST_AT_ONCE:
            raise ImageTooLarge(
                f"{name!r} has a strip of {row * rows / 1e6:.4g} MB; allowed are {_MOST_AT_ONCE / 1e6:.4g} in a TIFF "
                f"of this kind ({page}). Try a smaller copy, or one of 8 bits."
            )


def not_ours(page: Page, name: str) -> ImageError:
    """The error to raise for a page that camserve cannot read."""
    predictor = page.one("predictor", 1)
    more = f", predictor {predictor}" if predictor != 1 else ""
    return ImageError(
        f"{name!r} is a TIFF of a kind that camserve does not read: {page}{more}. Try saving it as an 8-bit PNG."
    )


def _is_tiled(page: Page) -> bool:
    return "tile_offsets" in page.tags


def _is_planar(page: Page) -> bool:
    return page.one("planar", 1) == 2 and page.samples > 1


def _cut(page: Page) -> tuple[int, int, int]:
    """The columns, rows and bytes of a row of the strips or tiles that a plane is cut into."""
    width, height = page.size
    columns, rows = width, min(page.one("strip_rows", height) or height, height)
    if _is_tiled(page):
        columns, rows = page.one("tile_width", 0), page.one("tile_height", 0)
        if min(columns, rows) < 16:
            raise ValueError("tiles smaller than TIFF allows")
    samples = 1 if _is_planar(page) else page.samples
    return columns, rows, -(-columns * samples * page.bits // 8)


def _parts(data: bytes, page: Page, plane: int) -> Iterator[tuple[int, int, npt.NDArray[Any]]]:
    """The strips or tiles of a plane, each with its position: (top, left, numbers (rows, columns, samples))."""
    columns, most, row = _cut(page)
    across = -(-page.size[0] // columns)
    count = across * -(-page.size[1] // most)
    together = max(1, _TOGETHER // max(1, row * most))
    for first in range(0, count, together):
        numbers = range(first, min(first + together, count))
        tops = [index // across * most for index in numbers]
        rows = [most if _is_tiled(page) else min(most, page.size[1] - top) for top in tops]
        packed = [
            _packed(data, page, plane * count + index, row * down) for index, down in zip(numbers, rows, strict=True)
        ]
        values = _numbers(np.frombuffer(_unpacked(packed, page, row, rows), np.uint8).reshape(-1, row), page, columns)
        begins = accumulate(rows[:-1], initial=0)
        for index, top, begin, down in zip(numbers, tops, begins, rows, strict=True):
            yield top, index % across * columns, values[begin : begin + down]


def _packed(data: bytes, page: Page, index: int, size: int) -> bytes:
    """The stored bytes of a strip or tile that has `size` bytes when unpacked."""
    kind = "tile" if _is_tiled(page) else "strip"
    offsets, counts = page.tags[f"{kind}_offsets"], page.tags.get(f"{kind}_counts", ())
    if index >= len(offsets):
        raise ValueError("truncated: too few strips")
    begin, length = int(offsets[index]), size
    if page.one("compression", 1) != 1:
        most = 2 * size + 512  # compression never makes more bytes than this
        length = min(most, int(counts[index])) if index < len(counts) else most
    return data[begin : begin + length]


def _unpacked(packed: list[bytes], page: Page, row: int, rows: list[int]) -> bytes:
    """The unpacked bytes of several strips one below the other, in rows of `row` bytes."""
    if page.one("fill_order", 1) == 2:
        packed = [part.translate(_REVERSED) for part in packed]
    packing = page.one("compression", 1)
    if packing in _LOSSLESS:
        image = TiffImageFile(io.BytesIO(_as_bytes(packed, packing, row, rows)), "")
        image.load()
        return image.tobytes()
    sizes = [row * count for count in rows]
    if packing == 1:
        parts = [part[:size] for part, size in zip(packed, sizes, strict=True)]
    else:
        parts = [zlib.decompressobj().decompress(part, size) for part, size in zip(packed, sizes, strict=True)]
    if [len(part) for part in parts] != sizes:
        raise ValueError("truncated: a strip is too short")
    return b"".join(parts)


def _as_bytes(packed: list[bytes], packing: int, row: int, rows: list[int]) -> bytes:
    """A TIFF with these strips and samples of one byte."""
    body = b"".join(packed)
    body += bytes(len(body) % 2)
    offsets = [8 + at for at in accumulate(map(len, packed[:-1]), initial=0)]
    counts = [len(part) for part in packed]
    lists = 8 + len(body)  # position of the offsets; the counts follow
    places = [lists, lists + 4 * len(packed)] if len(packed) > 1 else [offsets[0], counts[0]]
    entries = [(256, 1, row), (257, 1, sum(rows)), (258, 1, 8), (259, 1, packing), (262, 1, 1)]
    entries += [(273, len(packed), places[0]), (277, 1, 1), (278, 1, rows[0]), (279, len(packed), places[1])]
    directory = b"".join(struct.pack("<HHII", tag, 4, count, value) for tag, count, value in entries)
    values = struct.pack(f"<{2 * len(packed)}I", *offsets, *counts)
    header = b"II*\0" + struct.pack("<I", lists + len(values))
    return header + body + values + struct.pack("<H", len(entries)) + directory + bytes(4)


def _numbers(raw: npt.NDArray[np.uint8], page: Page, across: int) -> npt.NDArray[Any]:
    """(rows, bytes) as (rows, columns, samples)."""
    rows, samples = len(raw), 1 if _is_planar(page) else page.samples
    if page.bits in _PACKED:
        return _from_bits(raw, page.bits, across * samples).reshape(rows, across, samples)
    predictor = page.one("predictor", 1)
    dtype = np.dtype(_DTYPES[page.format, page.bits])
    if predictor == 3:
        summed = np.add.accumulate(raw.reshape(rows, -1, samples), axis=1, dtype=np.uint8)
        by_byte = summed.reshape(rows, dtype.itemsize, -1).transpose(0, 2, 1)
        return np.ascontiguousarray(by_byte).view(dtype.newbyteorder(">")).reshape(rows, across, samples)
    stored = dtype.newbyteorder("<" if page.order == "<" else ">")
    values = raw.view(stored).reshape(rows, across, samples)
    if predictor == 2:
        return np.add.accumulate(values.astype(dtype), axis=1, dtype=dtype)
    return values


def _from_bits(raw: npt.NDArray[np.uint8], bits: int, count: int) -> npt.NDArray[Any]:
    """The `count` numbers of `bits` bits in each row; row by row, because single bits take eight times the memory."""
    values = np.empty((len(raw), count), np.uint8 if bits < 8 else np.uint16)
    weights = 2 ** np.arange(bits - 1, -1, -1, dtype=np.uint32)
    for row, line in zip(values, raw, strict=True):
        row[:] = np.unpackbits(line)[: count * bits].reshape(count, bits) @ weights
    return values
