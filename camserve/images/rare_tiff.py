"""TIFF pages with a compression that neither Pillow nor camserve reads, such as JPEG 2000: tifffile and imagecodecs.

tifffile alone reads no more than camserve does; imagecodecs decompresses the other kinds.
"""

import io
import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from camserve.images.coded_sizes import coded_size
from camserve.images.extras import missing
from camserve.images.limits import Limits
from camserve.images.samples import check_bytes, not_ours
from camserve.images.tiff import COMPRESSIONS, Page, first_at

_PACKINGS = (33005, 34712, 34887, 34933, 50001, 50002, 52546)


def is_rare(page: Page) -> bool:
    """Whether the page has a compression that tifffile must read."""
    packing = page.one("compression", 1)
    return packing in _PACKINGS or (packing == 7 and page.bits > 8)


def read_rare(data: bytes, page: Page, name: str, limits: Limits) -> npt.NDArray[Any]:
    """The numbers of a page, (H, W, samples). Raises ImageTypeError without the libraries, ImageError, ImageTooLarge.

    Any other error means that the file is damaged.
    """
    packing = page.one("compression", 1)
    try:
        import imagecodecs  # noqa: F401 - tifffile imports it late; here the error can say what to install
        import tifffile
    except ImportError:
        what = f"a TIFF packed as {COMPRESSIONS.get(packing, packing)}"
        raise missing(name, what, "tifffile and imagecodecs") from None
    logging.getLogger("tifffile").addHandler(logging.NullHandler())
    check_bytes(page, max(1, page.bits // 8), name, limits)
    _check_parts(data, page)
    with tifffile.TiffFile(io.BytesIO(first_at(data, page))) as file:
        found = file.pages.first
        axes = found.axes.replace("X", "").replace("Y", "")
        if axes not in ("", "S"):
            raise not_ours(page, name)
        values = np.asarray(found.asarray(maxworkers=1))
        planar = found.axes.startswith("S")
    values = values if axes else values[..., None]
    return np.moveaxis(values, 0, 2) if planar else values


def _check_parts(data: bytes, page: Page) -> None:
    """Raises ValueError if a strip or tile is larger than the file says, or its size cannot be found."""
    kind = "tile" if "tile_offsets" in page.tags else "strip"
    width = page.one("tile_width", 0) if kind == "tile" else page.size[0]
    height = page.one("tile_height", 0) if kind == "tile" else page.one("strip_rows", 0) or page.size[1]
    offsets, counts = page.tags[f"{kind}_offsets"].tolist(), page.tags[f"{kind}_counts"].tolist()
    for offset, count in zip(offsets, counts, strict=True):
        if count:
            size = coded_size(data[offset : offset + count])
            if size is None or size[0] > width or size[1] > max(height, 1):
                raise ValueError("a strip or tile is not what the file says it is")
