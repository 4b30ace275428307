"""TIFFs of any kind, written by hand: no library writes them all, and none may be its own oracle."""

import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FORMATS = {"u": 1, "i": 2, "f": 3}


@dataclass
class Page:
    """A page to write. array: (H, W) or (H, W, samples); more: tags added, replaced or, with None, left out."""

    array: Array
    photometric: int = 1
    order: str = "<"
    compression: int = 1
    planar: int = 1
    predictor: int = 1
    rows: int = 7
    tile: tuple[int, int] | None = None
    more: dict[int, Any] = field(default_factory=dict)
    children: tuple["Page", ...] = ()


def tiff(*pages: Page, big: bool = False) -> bytes:
    """A file of these pages, one after the other."""
    order = pages[0].order
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(order + "HHHQ", 43, 8, 0, 0) if big else struct.pack(order + "HI", 42, 0)
    data, link = bytearray(mark + head), (8 if big else 4)
    for page in pages:
        offset, following = _write(data, page, big)
        struct.pack_into(order + ("Q" if big else "I"), data, link, offset)
        link = following
    return bytes(data)


def lzw(data: bytes) -> bytes:
    """LZW without a gain: nothing but single bytes, cleared before the codes grow longer than 9 bits."""
    codes = [256]
    for index, byte in enumerate(data):
        codes += [256, byte] if index % 200 == 199 else [byte]
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def packbits(data: bytes) -> bytes:
    """PackBits without a gain: literal runs."""
    runs = [data[at : at + 128] for at in range(0, len(data), 128)]
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


def _write(data: bytearray, page: Page, big: bool) -> tuple[int, int]:
    """Where the page's directory stands, and where the next one's offset goes."""
    children = [_write(data, child, big)[0] for child in page.children]
    array = page.array if page.array.ndim == 3 else page.array[..., None]
    height, width, samples = array.shape
    planes = np.moveaxis(array, 2, 0)[..., None] if page.planar == 2 else [array]
    offsets, counts = [], []
    for plane in planes:
        for part in _cut(plane, page):
            packed = _pack(part, page)
            offsets.append(len(data))
            counts.append(len(packed))
            data += packed + bytes(len(packed) % 2)
    tags: dict[int, Any] = {256: width, 257: height, 258: [array.itemsize * 8] * samples, 259: page.compression}
    tags |= {262: page.photometric, 277: samples, 284: page.planar, 339: [FORMATS[array.dtype.kind]] * samples}
    tags |= {317: page.predictor} if page.predictor > 1 else {}
    if page.tile:
        tags |= {322: page.tile[1], 323: page.tile[0], 324: offsets, 325: counts}
    else:
        tags |= {273: offsets, 278: page.rows, 279: counts}
    tags |= {330: children} if children else {}
    tags |= page.more
    return _directory(data, {tag: value for tag, value in tags.items() if value is not None}, page.order, big)


def _directory(data: bytearray, tags: dict[int, Any], order: str, big: bool) -> tuple[int, int]:
    room, wide = (8, "Q") if big else (4, "I")
    entries = b""
    for tag, value in sorted(tags.items()):
        values = list(value) if isinstance(value, list | tuple | bytes) else [value]
        kind, code = (3, "H") if tag not in (256, 257, 273, 279, 324, 325, 330) else (4, "I")
        kind, code = (7, "B") if isinstance(value, bytes) else (kind, code)
        packed = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(packed) > room:
            place = len(data)
            data += packed + bytes(len(packed) % 2)
            packed = struct.pack(order + wide, place)
        entries += struct.pack(order + "HH" + wide, tag, kind, len(values)) + packed.ljust(room, b"\0")
    offset = len(data)
    data += struct.pack(order + ("Q" if big else "H"), len(tags)) + entries
    data += bytes(room)
    return offset, len(data) - room


def _cut(plane: Array, page: Page) -> list[Array]:
    if not page.tile:
        return [plane[top : top + page.rows] for top in range(0, len(plane), page.rows)]
    down, across = page.tile
    padded = np.pad(plane, ((0, -plane.shape[0] % down), (0, -plane.shape[1] % across), (0, 0)))
    return [
        padded[top : top + down, left : left + across]
        for top in range(0, padded.shape[0], down)
        for left in range(0, padded.shape[1], across)
    ]


def _pack(part: Array, page: Page) -> bytes:
    stored = part.astype(part.dtype.newbyteorder("<" if page.order == "<" else ">"))
    if page.predictor == 2:
        before = np.concatenate([np.zeros_like(part[:, :1]), part[:, :-1]], 1)
        stored = (part - before).astype(stored.dtype)
    raw = _floats_apart(part) if page.predictor == 3 else stored.tobytes()
    return {1: bytes, 5: lzw, 8: zlib.compress, 32773: packbits}[page.compression](raw)


def _floats_apart(part: Array) -> bytes:
    """TIFF Technical Note 3: a row's bytes by significance, each less that of `samples` before."""
    rows, _, samples = part.shape
    by_byte = part.astype(part.dtype.newbyteorder(">")).view(np.uint8).reshape(rows, -1, part.itemsize)
    flat = by_byte.transpose(0, 2, 1).reshape(rows, -1)
    before = np.concatenate([np.zeros((rows, samples), np.uint8), flat[:, :-samples]], 1)
    return (flat - before).astype(np.uint8).tobytes()
