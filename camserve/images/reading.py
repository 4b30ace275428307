"""Photographs from whatever is given, and pictures to encoded bytes: sources, limits, errors, hashes.

`camserve.images.decoding` decodes.
"""

import hashlib
import io
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from camserve import errors
from camserve.errors import ImageError
from camserve.images.arrays.drafts import Smaller
from camserve.images.arrays.pixel_arrays import Pixels, image_of, pixels_of
from camserve.images.coded_sizes import coded_size
from camserve.images.decoding import EXTRAS, READERS, decode, decode_draft
from camserve.images.limits import Limits, check_size
from camserve.images.pixels import from_array, to_rgb, turn_of
from camserve.images.png import png_bytes
from camserve.images.signatures import kind_of
from camserve.images.sources import base_name, encoded

# Pillow warns of what is harmless (a broken EXIF tag) or is an error of ours in the next line. Filtered for
# good, as catch_warnings() is not thread-safe; the newest filter is asked first: before those of -W, too.
warnings.filterwarnings("ignore", module=r"PIL\.(Tiff|Png)ImagePlugin$")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Without any handler Python prints a library's errors to stderr; a program's own handlers still get them.
logging.getLogger("PIL").addHandler(logging.NullHandler())

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | npt.NDArray[np.uint8]


class Output(NamedTuple):
    """A format that `encode` writes; longest_side is what it can hold, in pixels."""

    content_type: str
    ending: str
    longest_side: int


OUTPUTS = MappingProxyType(
    {
        "png": Output("image/png", ".png", 2**31 - 1),
        "jpeg": Output("image/jpeg", ".jpg", 65500),
        "webp": Output("image/webp", ".webp", 16383),
    }
)
# Of a JPEG: a colour for each pixel, for each two side by side, and for each square of four.
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photograph.

    pixels: uint8 (H, W, 3), RGB, upright; nobody modifies them, so threads may share them.
    name: the file's name without its folder, "image" or "array"; for messages and provenance.
    format: "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIC", "JPEG XL" or "DICOM"; "array" for pixels that
    come from no file.
    encoded_sha256: of the bytes that were decoded, if any were.
    notes: in words, what was chosen in reading it that the file does not settle: a window of values, a page.
    bands: numbers (H, W, C) as in the file, for a network that takes more or other samples than RGB; else None.
    whole: (W, H) of the photograph where it was decoded smaller, so that pixels are a copy for a network; else None.
    """

    pixels: Pixels = field(repr=False)
    name: str
    format: str
    encoded_sha256: str | None = None
    notes: tuple[str, ...] = ()
    bands: npt.NDArray[Any] | None = field(default=None, repr=False)
    whole: tuple[int, int] | None = None

    @property
    def image(self) -> Image.Image:
        """The pixels as a Pillow image, RGB: made anew at each access, 4 bytes a pixel."""
        return image_of(self.pixels)

    @cached_property
    def sha256(self) -> str:
        """Of the encoded bytes as given; for an array or a Pillow image, of mode, size and RGB pixels."""
        if self.encoded_sha256 is not None:
            return self.encoded_sha256
        width, height = self.size
        digest = hashlib.sha256(f"RGB {width} {height} ".encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()

    @property
    def size(self) -> tuple[int, int]:
        """(W, H) in pixels, of the photograph in full."""
        return self.whole or self.drafted

    @property
    def in_full(self) -> Pixels:
        """`pixels`, to paint on. Raises OptionError where the photograph was decoded smaller."""
        if self.whole is not None:
            raise errors.OptionError(
                f"{self.name!r} was decoded smaller, for a network alone. Try images.draft = false"
            )
        return self.pixels

    @property
    def drafted(self) -> tuple[int, int]:
        """(W, H) of `pixels`."""
        height, width = self.pixels.shape[:2]
        return width, height


def read_photo(
    source: Source,
    *,
    max_pixels: int,
    max_side: int,
    max_bytes: int,
    local: bool = False,
    icc: bool = True,
    smaller: Smaller | None = None,
) -> Photo:
    """Decode one photograph to upright RGB; of an animation, its first frame.

    source: a path; encoded bytes; a binary file object, read from where it stands; a Pillow image, turned as
    its EXIF says; or a uint8 array (H, W), (H, W, 3) RGB or (H, W, 4) RGBA.

    What is transparent is laid over white. Of more than 8 bits a rule says which values are black and white:
    see `camserve.images.windows`; a picture that does not use its whole range has a note of it. A TIFF's first page
    that is no reduced copy is read.

    local: whether the limits are those of one's own files rather than of uploads, for the names of settings in errors.
    icc: whether colours become sRGB where a colour profile says what they are.
    smaller: by how much a JPEG of a size may be decoded smaller, for a network alone.

    Raises ImageTypeError for a format we do not take, ImageTooLarge for more than max_pixels or a side longer
    than max_side (read from the header, before decoding), BodyTooLarge for more than max_bytes, ImageError for
    what is missing, empty, cut off, damaged or no picture at all.
    """
    limits = Limits(max_pixels, max_side, local)
    if isinstance(source, np.ndarray):
        given = from_array(source, limits)
        if isinstance(given, Image.Image):
            return _adopt(given, "array", limits, icc)
        with one_error("array", "array", limits):
            return Photo(np.array(given, order="C"), "array", "array")
    name = base_name(source)
    if isinstance(source, Image.Image):
        return _adopt(source, name, limits, icc)
    data = encoded(source, name, max_bytes, local=local)
    kind = known_kind(data, name)
    with one_error(name, kind, limits):
        whole = None
        if smaller is not None and kind == "JPEG":
            pixels, notes, whole = decode_draft(data, name, limits, smaller, icc=icc)
        else:
            pixels, notes = decode(data, name, kind, limits, icc=icc)
    return Photo(pixels, name, kind, hashlib.sha256(data).hexdigest(), tuple(notes), whole=whole)


def announced_pixels(source: Source) -> int:
    """How many pixels a source says it has, without decoding it; where only decoding tells, eight for each byte."""
    if isinstance(source, np.ndarray):
        return source.shape[0] * source.shape[1] if source.ndim > 1 else 0
    if isinstance(source, Image.Image):
        return source.width * source.height
    if isinstance(source, str | os.PathLike):
        return 8 * Path(source).stat().st_size
    data = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else _peeked(source)
    try:
        width, height = coded_size(data) or READERS[str(kind_of(data))](io.BytesIO(data), "").size
    except Exception:  # damaged, which is said when its turn comes, or of a format that Pillow does not read
        return 8 * len(data)
    return width * height


def _peeked(file: BinaryIO) -> bytes:
    place = file.tell()
    data = file.read()
    file.seek(place)
    return data


def encode(image: Image.Image, format: str, *, quality: int = 90, subsampling: str = "4:4:4") -> bytes:
    """The bytes of `image` (RGB; for PNG and WebP also L or RGBA) as a file of `format`, a key of OUTPUTS.

    quality: 1..100, of JPEG and WebP. subsampling: of a JPEG's colours, see SUBSAMPLINGS. Raises UnknownName for
    another format or subsampling, OptionError for another quality and for an image with a longer side than the format
    can hold.
    """
    if format not in OUTPUTS:
        raise errors.UnknownName("image format", format, OUTPUTS)
    if not 1 <= quality <= 100:
        raise errors.OptionError(f"quality = {quality}: allowed are 1 to 100; try 90")
    if subsampling not in SUBSAMPLINGS:
        raise errors.UnknownName("subsampling", subsampling, SUBSAMPLINGS)
    if max(image.size) > OUTPUTS[format].longest_side:
        raise errors.OptionError(
            f"the image is {image.width} x {image.height}; allowed in a {format} are "
            f"{OUTPUTS[format].longest_side} pixels a side. Try png or a smaller image."
        )
    if format == "png":
        return png_bytes(image)
    # For a service that is waited for; measured against Pillow's defaults on three overlays of 1500 x 1000.
    # jpeg: colour at full resolution, as it is by default, keeps the heat's edges for 35 % more bytes.
    # webp: 40 for 95 ms and 4 % more bytes.
    options: dict[str, dict[str, Any]] = {
        "jpeg": {"quality": quality, "subsampling": subsampling},
        "webp": {"quality": quality, "method": 2},
    }
    buffer = io.BytesIO()
    image.save(buffer, format, **options[format])
    return buffer.getvalue()


def known_kind(data: bytes, name: str) -> str:
    """The format of encoded bytes. Raises ImageTypeError for one that we do not take."""
    kind = kind_of(data)
    if kind in READERS or kind in EXTRAS:
        return kind
    found = f"seems to be {kind}" if kind else "is not an image that camserve knows"
    raise errors.ImageTypeError(
        f"{name!r} {found}; allowed are JPEG (of an MPO the first picture), PNG, WebP, GIF, BMP, TIFF, "
        "AVIF, HEIC, JPEG XL and DICOM. Try saving it as JPEG or PNG."
    )


@contextmanager
def one_error(name: str, kind: str, limits: Limits) -> Iterator[None]:
    """Whatever Pillow raises on hostile bytes, which is nearly anything, as the one error that it means.

    Not so MemoryError: sizes were held to the limits before, so it is the machine that has too little.
    """
    try:
        yield
    except errors.CamserveError as error:
        if type(error) is errors.ImageError and repr(name) not in str(error):
            raise errors.ImageError(f"{name!r}: {error}") from None
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = int(re.findall(r"\d+", str(error))[0])
        pillows = 2 * (Image.MAX_IMAGE_PIXELS or limits.pixels)  # of GIF, WebP, and what it unpacks of a TIFF
        allowed = min(limits.pixels, pillows)
        setting = limits.setting if limits.pixels <= pillows else "Pillow's PIL.Image.MAX_IMAGE_PIXELS, twice"
        raise errors.ImageTooLarge(
            f"{name!r} has {pixels / 1e6:.4g} megapixels; allowed in a {kind} are {allowed / 1e6:.4g} "
            f"({setting}). Try a smaller copy."
        ) from None
    except MemoryError:
        raise errors.OutOfMemory(
            f"{name!r} was not decoded: there is too little memory. Try again, or a smaller copy."
        ) from None
    except Exception as error:
        fault = (
            "is cut off (truncated)"
            if re.search("truncated|unexpected end of", str(error), re.IGNORECASE)
            else "is damaged, cut off or of a rare variant"
        )
        raise ImageError(
            f"{name!r} cannot be decoded: this {kind} {fault}. Try sending it again, or saving it as PNG."
        ) from None


def _adopt(image: Image.Image, name: str, limits: Limits, icc: bool) -> Photo:
    """The photograph of a Pillow image, which stays the caller's and as it is."""
    check_size(image.size, repr(name), limits)
    with one_error(name, image.format or "image", limits):
        profile = image.info.get("icc_profile") if icc else None
        picture, notes = to_rgb(image.copy() if profile and image.mode == "RGB" else image, profile)
        turn = turn_of(image)
        picture = picture if turn is None else picture.transpose(turn)
        pixels = pixels_of(picture)
    return Photo(pixels, name, image.format or "array", notes=tuple(notes))
