"""DICOM by pydicom: the first frame, its values in the scanner's units, shown with the window that the file names.

pydicom's warnings are switched off from the first DICOM on: they are harmless, or camserve raises an error anyway.
"""

import io
import logging
import warnings
import zlib
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from camserve.errors import ImageError, ImageTooLarge
from camserve.images.coded_sizes import coded_size
from camserve.images.dicom_greys import greys
from camserve.images.extras import Decoded, missing
from camserve.images.limits import Limits, check_size

_DEFLATED = b"1.2.840.10008.1.2.1.99"  # the whole file is compressed, and pydicom decompresses it at once
_DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"  # the size of the decompressed frame is not known before
_META = 132  # offset of the group that is never compressed
_MOST_BYTES = 8  # allowed bytes for each of the allowed pixels
_HELPERS = {"JPEG-LS": "pyjpegls", "JPEG 2000": "pylibjpeg pylibjpeg-openjpeg"}
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT", "PALETTE COLOR")


def read_dicom(data: bytes, name: str, limits: Limits) -> Decoded:
    """Read the first frame.

    Raises ImageTypeError without pydicom, ImageError for a file without a picture or with a compression that cannot be
    read here. Any other error means that the file is damaged.
    """
    try:
        import pydicom
    except ImportError:
        raise missing(name, "a DICOM picture", "pydicom") from None
    _silence()
    _check_deflated(data, name, limits)
    dataset = pydicom.dcmread(io.BytesIO(data))
    if not any(key in dataset for key in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        kind = getattr(dataset.get("SOPClassUID"), "name", "of an unknown kind")
        raise ImageError(f"{name!r} is a DICOM file without a picture ({kind}). Try one of the series' images.")
    _check_size(dataset, name, limits)
    frames = int(dataset.get("NumberOfFrames") or 1)
    notes = [f"only the first frame is explained; the file has {frames - 1} more"] if frames > 1 else []
    meaning = str(dataset.PhotometricInterpretation).strip()
    values = _frame(dataset, name, limits)
    if meaning in ("MONOCHROME1", "MONOCHROME2"):
        image, more = greys(values, dataset, inverted=meaning == "MONOCHROME1")
        return Decoded(image, [*notes, *more])
    if meaning not in _COLOURS:
        raise ImageError(
            f"{name!r} is a DICOM picture of kind {meaning}; allowed are MONOCHROME1, MONOCHROME2, "
            f"{', '.join(_COLOURS)}. Try saving it as PNG."
        )
    depth: int | None = int(dataset.BitsStored)
    if meaning == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        values, depth = apply_color_lut(values, dataset), None
    profile = dataset.get("ICCProfile")
    if values.dtype == np.uint8 and depth in (8, None):
        return Decoded(Image.fromarray(values), notes, profile)
    return Decoded(values, notes, profile, depth=depth)


@cache
def _silence() -> None:
    """Switch off the warnings of pydicom, once for the whole process."""
    warnings.filterwarnings("ignore", module=r"pydicom\.")
    logging.getLogger("pydicom").addHandler(logging.NullHandler())


def _frame(dataset: Any, name: str, limits: Limits) -> Any:
    """The first frame, (H, W) or (H, W, 3) of RGB."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import pixel_array

    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        try:
            decoder = None if syntax == _DEFLATED_FRAME else get_decoder(syntax)
        except NotImplementedError:
            decoder = None
        if decoder is None:
            raise ImageError(
                f"{name!r} is a DICOM picture packed as {syntax.name}, which pydicom cannot unpack. Try saving it as "
                "PNG."
            )
        if not decoder.is_available:
            raise _packed(name, syntax.name)
        from pydicom.encaps import get_frame

        frames = int(dataset.get("NumberOfFrames") or 1)
        frame = get_frame(dataset.PixelData, 0, number_of_frames=frames)
        size = coded_size(frame)
        if size:
            check_size(size, repr(name), limits)
        elif len(frame) > 2 * _needed(dataset) + 1024:  # compression never enlarges more; RLE may expand 64 times
            raise ValueError("more packed bytes than its pixels have")
    try:
        return pixel_array(dataset, index=0)
    except RuntimeError as error:
        if "12-bit" in str(error):
            raise _packed(name, f"{syntax.name} of 12 bits") from None
        raise


def _packed(name: str, how: str) -> ImageError:
    helper = next((helper for word, helper in _HELPERS.items() if word in how), "pylibjpeg pylibjpeg-libjpeg")
    return ImageError(
        f"{name!r} is a DICOM picture packed as {how}, which pydicom unpacks with a library that is not installed: "
        f"pip install {helper}"
    )


def _check_size(dataset: Any, name: str, limits: Limits) -> None:
    check_size((int(dataset.Columns), int(dataset.Rows)), repr(name), limits)
    needed = _needed(dataset)
    if needed > limits.pixels * _MOST_BYTES:
        raise ImageTooLarge(
            f"{name!r} has {needed / 1e6:.4g} MB of pixels; allowed are {limits.pixels * _MOST_BYTES / 1e6:.4g}, "
            f"8 bytes for each of {limits.setting}. Try a smaller copy."
        )


def _needed(dataset: Any) -> int:
    """The size of a decompressed frame in bytes."""
    pixels = int(dataset.Columns) * int(dataset.Rows)
    return -(-pixels * int(dataset.get("SamplesPerPixel", 1)) * int(dataset.BitsAllocated) // 8)


def _check_deflated(data: bytes, name: str, limits: Limits) -> None:
    """Raises ImageTooLarge if a deflated file is too large; decompresses it in small pieces to measure it."""
    syntax, begin = _meta(data)
    if syntax != _DEFLATED:
        if not syntax and _DEFLATED in data:
            raise ValueError("a file that does not say properly how it is packed")
        return
    unpacker, count, rest = zlib.decompressobj(-zlib.MAX_WBITS), 0, data[begin:]
    while rest and not unpacker.eof:
        count += len(unpacker.decompress(rest, 2**20))
        rest = unpacker.unconsumed_tail
        if count > limits.pixels * _MOST_BYTES:
            raise ImageTooLarge(
                f"{name!r} has more than {count / 1e6:.4g} MB after decompression; allowed are "
                f"{limits.pixels * _MOST_BYTES / 1e6:.4g}, 8 bytes for each of {limits.setting}. Try a smaller copy."
            )


def _meta(data: bytes) -> tuple[bytes, int]:
    """The transfer syntax, and where the uncompressed group ends; the length that the group declares may be wrong."""
    at, syntax = _META, b""
    while data[at : at + 2] == b"\2\0":
        is_long = data[at + 4 : at + 6] in (b"OB", b"OW", b"SQ", b"UN", b"UT")
        begin = at + (12 if is_long else 8)
        size = int.from_bytes(data[begin - (4 if is_long else 2) : begin], "little")
        if data[at + 2 : at + 4] == b"\x10\0":
            syntax = data[begin : begin + size].rstrip(b"\0 ")
        at = begin + size
    return syntax, at
