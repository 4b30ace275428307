"""Find the page of a TIFF that is its picture, and what the file says about its samples. Reads only the directories.

Pillow always opens the first page. In a camera's raw file and in many others, that page is a thumbnail.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from camserve.errors import ImageError, ImageTypeError

# The tags of TIFF 6.0, DNG 1.6 and TIFF/EP that are read
_TAGS = {
    254: "subfile",
    255: "old_subfile",
    256: "width",
    257: "height",
    258: "bits",
    259: "compression",
    262: "photometric",
    266: "fill_order",
    273: "strip_offsets",
    274: "orientation",
    277: "samples",
    278: "strip_rows",
    279: "strip_counts",
    284: "planar",
    317: "predictor",
    322: "tile_width",
    323: "tile_height",
    324: "tile_offsets",
    325: "tile_counts",
    330: "children",
    338: "extras",
    339: "formats",
    34675: "icc",
    50706: "dng",
}
# {number of a type: dtype}; the other types (text, fractions, floats) are not needed here
_TYPES = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}
_MOST_PAGES = 1000  # most pages that are read, because a chain of directories may be very long

PHOTOMETRICS = {
    0: "white is zero",
    1: "black is zero",
    2: "RGB",
    3: "palette",
    4: "mask",
    5: "CMYK",
    6: "YCbCr",
    8: "CIELAB",
    9: "ICCLAB",
    10: "ITULAB",
    32803: "a camera's colour filter array",
    34892: "a camera's linear raw",
}
_SENSOR = (32803, 34892)
COMPRESSIONS = {
    1: "uncompressed",
    2: "CCITT",
    3: "CCITT G3",
    4: "CCITT G4",
    5: "LZW",
    6: "old JPEG",
    7: "JPEG",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    34925: "LZMA",
    34933: "PNG",
    34934: "JPEG XR",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_FORMATS = {1: "unsigned", 2: "signed", 3: "float", 4: "unsigned", 5: "complex", 6: "complex"}


@dataclass(frozen=True)
class Page:
    """A directory of a TIFF.

    offset: its position in the file; tags: those of `_TAGS`, by name; order: byte order, "<" or ">"; big: whether the
    file is a BigTIFF.
    """

    offset: int
    tags: dict[str, npt.NDArray[Any]]
    order: str
    big: bool

    def one(self, tag: str, default: int) -> int:
        """The first value of a tag."""
        values = self.tags.get(tag)
        return default if values is None or not len(values) else int(values[0])

    @property
    def size(self) -> tuple[int, int]:
        """(W, H) as stored."""
        return self.one("width", 0), self.one("height", 0)

    @property
    def samples(self) -> int:
        """The number of samples of a pixel."""
        return self.one("samples", 1)

    @property
    def bits(self) -> int:
        """The bits of a sample; 0 if samples differ."""
        bits = self.tags.get("bits", np.array([1]))
        return int(bits[0]) if len(set(bits.tolist())) == 1 else 0

    @property
    def format(self) -> str:
        """The format of the samples: unsigned, signed, float, complex, mixed or unknown."""
        formats = set(self.tags.get("formats", np.array([1])).tolist())
        return _FORMATS.get(formats.pop(), "unknown") if len(formats) == 1 else "mixed"

    @property
    def photometric(self) -> int:
        """The photometric interpretation; if the file has none, the usual one: RGB for 3 or 4 samples, else grey."""
        return self.one("photometric", 2 if self.samples in (3, 4) else 1)

    @property
    def is_copy(self) -> bool:
        """Whether the page says that it is a reduced copy or a mask of another page."""
        return bool(self.one("subfile", 0) & 5) or self.one("old_subfile", 1) == 2 or self.photometric == 4

    def __str__(self) -> str:
        several = f"{self.samples} samples" if self.samples > 1 else "one sample"
        bits = f"{self.bits} bits" if self.bits else "mixed bits"
        meaning = PHOTOMETRICS.get(self.photometric, f"photometric {self.photometric}")
        packing = COMPRESSIONS.get(self.one("compression", 1), f"compression {self.one('compression', 1)}")
        planar = "planar, " if self.one("planar", 1) == 2 else ""
        big = ", big-endian BigTIFF" if self.big and self.order == ">" else ""
        return f"{several} a pixel, {bits}, {self.format}, {meaning}, {planar}{packing}{big}"


def picture_of(data: bytes, name: str) -> tuple[Page, list[str]]:
    """The page to explain, and notes about it.

    It is the first page that is not a reduced copy of another. Raises ImageTypeError for the raw data of a camera,
    ValueError and struct.error for a file that is not a TIFF.
    """
    chain = list(islice(_chain(data), _MOST_PAGES))
    tree = list(islice((each for page in chain for each in (page, *_children(data, page))), _MOST_PAGES))
    if any(page.photometric in _SENSOR or "dng" in page.tags for page in tree):
        raise ImageTypeError(
            f"{name!r} seems to be a camera's raw file (such as DNG or NEF): beside a small preview it has data "
            "of the sensor, which camserve does not develop. Try developing it to JPEG or PNG."
        )
    full = [page for page in tree if not page.is_copy] or tree
    if not full:
        raise ImageError(f"{name!r} is a TIFF without a page. Try saving it again, as TIFF or PNG.")
    return full[0], _about_pages(full[0], chain, tree)


def first_at(data: bytes, page: Page) -> bytes:
    """The same file with `page` as its first page, for a reader that opens the first page."""
    at, width = (8, "Q") if page.big else (4, "I")
    pointer = struct.pack(page.order + width, page.offset)
    return data if data[at:].startswith(pointer) else data[:at] + pointer + data[at + len(pointer) :]


def _about_pages(page: Page, chain: list[Page], tree: list[Page]) -> list[str]:
    notes = []
    if page is not tree[0]:
        width, height = tree[0].size
        which = f"page {chain.index(page) + 1}" if page in chain else "a page inside another"
        notes.append(f"the file's first page, {width} x {height}, is a reduced copy; {which} is explained instead")
    elif page.is_copy:
        notes.append("the file marks its only picture as a reduced copy, but does not contain the original")
    others = [other for other in chain if not other.is_copy and other is not page]
    if others:
        width, height = max((other.size for other in others), key=lambda size: size[0] * size[1])
        larger = f", the largest {width} x {height}" if width * height > page.size[0] * page.size[1] else ""
        several = f"{len(others)} more" if len(chain) < _MOST_PAGES else "many more"
        notes.append(f"only the first page is explained; the file has {several}{larger}")
    return notes


def _chain(data: bytes) -> Iterator[Page]:
    """The pages one after the other, up to the first that cannot be read. Raises if the first cannot be read."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    (offset,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    seen: set[int] = set()
    while offset and offset not in seen:
        seen.add(offset)
        try:
            page, offset = _directory(data, offset, order, big)
        except (ValueError, struct.error):
            if len(seen) == 1:
                raise
            return
        yield page


def _children(data: bytes, page: Page) -> Iterator[Page]:
    """The pages inside a page; pages that cannot be read are left out."""
    for offset in page.tags.get("children", np.array([], int))[:_MOST_PAGES].tolist():
        try:
            yield _directory(data, int(offset), page.order, page.big)[0]
        except (ValueError, struct.error):
            continue


def _directory(data: bytes, offset: int, order: str, big: bool) -> tuple[Page, int]:
    """The directory at `offset`, and the offset of the next one."""
    wide, head = ("u8", 8) if big else ("u4", 2)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, offset)
    fields = [("tag", order + "u2"), ("type", order + "u2"), ("count", order + wide), ("value", f"V{8 if big else 4}")]
    entries = np.frombuffer(data, np.dtype(fields), count, offset + head)
    end = offset + head + entries.nbytes
    tags: dict[str, npt.NDArray[Any]] = {}
    known, first = np.unique(entries["tag"], return_index=True)  # if a tag stands twice, the first one counts
    for entry in entries[first[np.isin(known, list(_TAGS))]]:
        kind = _TYPES.get(int(entry["type"]))
        if kind:
            dtype = np.dtype(order + kind)
            inside = dtype.itemsize * int(entry["count"]) <= (8 if big else 4)
            inline = entry["value"].tobytes()
            at = 0 if inside else int(np.frombuffer(inline, order + wide)[0])
            tags[_TAGS[int(entry["tag"])]] = np.frombuffer(inline if inside else data, dtype, int(entry["count"]), at)
    (following,) = struct.unpack_from(order + ("Q" if big else "I"), data, end) if end + 4 <= len(data) else (0,)
    return Page(offset, tags, order, big), following
