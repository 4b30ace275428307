"""Read photographs from any source, and encode pictures: limits, errors, hashes.

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

# Pillow warns about harmless faults (a broken EXIF tag), or camserve raises an error anyway. These filters stay for
# good, because catch_warnings() is not thread-safe. The newest filter comes first, also before those of -W.
warnings.filterwarnings("ignore", module=r"PIL\.(Tiff|Png)ImagePlugin$")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Without a handler, Python prints a library's log errors to stderr. A program's own handlers still get them.
logging.getLogger("PIL").addHandler(logging.NullHandler())

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | npt.NDArray[np.uint8]


class Output(NamedTuple):
    """A format that `encode` writes. longest_side: the longest side that the format allows, in pixels."""

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
# A JPEG has a colour for each pixel, for each two pixels side by side, or for each square of four pixels.
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photograph.

    pixels: uint8 (H, W, 3), RGB, upright; never modified, so threads may share them.
    name: the file's name without its folder, "image" or "array"; for messages and provenance.
    format: "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIC", "JPEG XL" or "DICOM"; "array" for pixels that
    come from no file.
    encoded_sha256: the hash of the encoded bytes, or of bands that came as an array; None for other arrays and for
    Pillow images.
    notes: sentences about choices that the file leaves open, such as a window of values or a page.
    bands: numbers (H, W, C) as in the file, for a network that takes more or other samples than RGB; else None.
    whole: the full size (W, H) of a photograph that was decoded smaller for a network; else None.
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
        """The pixels as a Pillow image, RGB. Each access makes a new image, with 4 bytes for each pixel."""
        return image_of(self.pixels)

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the encoded bytes; for an array or a Pillow image, of mode, size and RGB pixels."""
        if self.encoded_sha256 is not None:
            return self.encoded_sha256
        width, height = self.size
        digest = hashlib.sha256(f"RGB {width} {height} ".encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()

    @property
    def size(self) -> tuple[int, int]:
        """The full size (W, H) of the photograph, in pixels."""
        return self.whole or self.drafted

    @property
    def in_full(self) -> Pixels:
        """`pixels`, to draw on. Raises OptionError if the photograph was decoded smaller."""
        if self.whole is not None:
            raise errors.OptionError(
                f"{self.name!r} was decoded smaller for the network, so nothing can be drawn on it. Try images.draft = "
                "false"
            )
        return self.pixels

    @property
    def drafted(self) -> tuple[int, int]:
        """The size (W, H) of `pixels`."""
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
    """Decode one photograph to upright RGB. The first frame of an animation is used.

    source: a path; encoded bytes; a binary file object, which is read from its current position; a Pillow image,
    which is turned as its EXIF says; or a uint8 array (H, W), (H, W, 3) RGB or (H, W, 4) RGBA.

    Transparent pixels are laid over white. For more than 8 bits, `camserve.images.windows` decides which values are
    black and white; a note says so if this is not the whole range of the numbers. In a TIFF, the first page that is not
    a reduced copy is read.

    local: whether the limits are those for local files and not those for uploads; errors name the setting.
    icc: whether to convert colours with a colour profile to sRGB.
    smaller: a function of the size (W, H) of a JPEG: by how much it may be decoded smaller, if only a network uses it.

    Raises ImageTypeError for an unknown format, ImageTooLarge for more than max_pixels or a side longer
    than max_side (read from the header, before decoding), BodyTooLarge for more than max_bytes, ImageError for
    a source that is missing, empty, cut off, damaged or not a picture.
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
    """The number of pixels that a source declares, without decoding it; if it declares none, eight for each byte."""
    if isinstance(source, np.ndarray):
        return source.shape[0] * source.shape[1] if source.ndim > 1 else 0
    if isinstance(source, Image.Image):
        return source.width * source.height
    if isinstance(source, str | os.PathLike):
        return 8 * Path(source).stat().st_size
    data = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else _peeked(source)
    try:
        width, height = coded_size(data) or READERS[str(kind_of(data))](io.BytesIO(data), "").size
    except Exception:  # damaged (an error follows when it is decoded), or a format that Pillow does not read
        return 8 * len(data)
    return width * height


def _peeked(file: BinaryIO) -> bytes:
    place = file.tell()
    data = file.read()
    file.seek(place)
    return data


def encode(image: Image.Image, format: str, *, quality: int = 90, subsampling: str = "4:4:4") -> bytes:
    """Encode `image` (RGB; for PNG and WebP also L or RGBA) as a file of `format`, a key of OUTPUTS.

    quality: 1..100, for JPEG and WebP. subsampling: of a JPEG's colours, see SUBSAMPLINGS. Raises UnknownName for
    another format or subsampling, OptionError for another quality and for an image with a longer side than the format
    allows.
    """
    if format not in OUTPUTS:
        raise errors.UnknownName("image format", format, OUTPUTS)
    if not 1 <= quality <= 100:
        raise errors.OptionError(f"quality = {quality}: allowed are 1 to 100; try 90")
    if subsampling not in SUBSAMPLINGS:
        raise errors.UnknownName("subsampling", subsampling, SUBSAMPLINGS)
    if max(image.size) > OUTPUTS[format].longest_side:
        raise errors.OptionError(
            f"the image is {image.width} x {image.height}; allowed in {format} are "
            f"{OUTPUTS[format].longest_side} pixels a side. Try png or a smaller image."
        )
    if format == "png":
        return png_bytes(image)
    # Chosen for speed; compared with Pillow's defaults on three overlays of 1500 x 1000.
    # jpeg: full colour resolution, camserve's default, keeps the edges of the heat and takes 35 % more bytes.
    # webp: method 2 takes 40 ms instead of 95 ms, and 4 % more bytes.
    options: dict[str, dict[str, Any]] = {
        "jpeg": {"quality": quality, "subsampling": subsampling},
        "webp": {"quality": quality, "method": 2},
    }
    buffer = io.BytesIO()
    image.save(buffer, format, **options[format])
    return buffer.getvalue()


def known_kind(data: bytes, name: str) -> str:
    """The format of encoded bytes. Raises ImageTypeError for a format that camserve does not read."""
    kind = kind_of(data)
    if kind in READERS or kind in EXTRAS:
        return kind
    found = f"seems to be {kind}" if kind else "is not an image that camserve knows"
    raise errors.ImageTypeError(
        f"{name!r} {found}; allowed are JPEG (also MPO: its first picture), PNG, WebP, GIF, BMP, TIFF, "
        "AVIF, HEIC, JPEG XL and DICOM. Try saving it as JPEG or PNG."
    )


@contextmanager
def one_error(name: str, kind: str, limits: Limits) -> Iterator[None]:
    """Turn whatever Pillow raises on damaged bytes, which can be any error, into an ImageError or ImageTooLarge.

    A MemoryError becomes OutOfMemory: sizes were checked before, so the machine has too little memory.
    """
    try:
        yield
    except errors.CamserveError as error:
        if type(error) is errors.ImageError and repr(name) not in str(error):
            raise errors.ImageError(f"{name!r}: {error}") from None
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = int(re.findall(r"\d+", str(error))[0])
        pillows = 2 * (Image.MAX_IMAGE_PIXELS or limits.pixels)  # for GIF, WebP, and the TIFFs that Pillow unpacks
        allowed = min(limits.pixels, pillows)
        setting = limits.setting if limits.pixels <= pillows else "twice Pillow's PIL.Image.MAX_IMAGE_PIXELS"
        raise errors.ImageTooLarge(
            f"{name!r} has {pixels / 1e6:.4g} megapixels; allowed in a {kind} are {allowed / 1e6:.4g} "
            f"({setting}). Try a smaller copy."
        ) from None
    except MemoryError:
        raise errors.OutOfMemory(
            f"{name!r} was not decoded, because there is too little memory. Try again, or try a smaller copy."
        ) from None
    except Exception as error:
        fault = (
            "is cut off (truncated)"
            if re.search("truncated|unexpected end of", str(error), re.IGNORECASE)
            else "is damaged, cut off or of a rare kind"
        )
        raise ImageError(
            f"{name!r} cannot be decoded: this {kind} {fault}. Try sending it again, or saving it as PNG."
        ) from None


def _adopt(image: Image.Image, name: str, limits: Limits, icc: bool) -> Photo:
    """The photograph of a Pillow image. The caller's image is not changed."""
    check_size(image.size, repr(name), limits)
    with one_error(name, image.format or "image", limits):
        profile = image.info.get("icc_profile") if icc else None
        picture, notes = to_rgb(image.copy() if profile and image.mode == "RGB" else image, profile)
        turn = turn_of(image)
        picture = picture if turn is None else picture.transpose(turn)
        pixels = pixels_of(picture)
    return Photo(pixels, name, image.format or "array", notes=tuple(notes))
