"""Encoded bytes to upright RGB pixels and back: formats, limits, the EXIF turn. Nothing else opens or saves.

The readers of the formats we take are called by name, because `Image.open` cannot tell a damaged JPEG from
a text file, follows an MPO's index to where it breaks, and warns and refuses by a process-wide limit.

ICC profiles are ignored: classifiers were trained on pixels as they are stored, so those are what a model
expects, although the colours of a wide-gamut photograph come out a little pale.
"""

import hashlib
import io
import logging
import os
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ExifTags import Base as Tag
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from camserve import errors
from camserve.errors import ImageError

# Pillow warns of what is harmless (a broken EXIF tag) or is an error of ours in the next line. Filtered for
# good, as catch_warnings() is not thread-safe; the newest filter is asked first: before those of -W, too.
warnings.filterwarnings("ignore", module=r"PIL\.(Tiff|Png)ImagePlugin$")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Without any handler Python prints a library's errors to stderr; a program's own handlers still get them.
logging.getLogger("PIL").addHandler(logging.NullHandler())

Source = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | npt.NDArray[np.uint8]
)

_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
    "AVIF": AvifImageFile,
}
_SIGNATURES = {  # how files begin, a narrower pattern before a wider one
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF.{4}WEBP",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM",
    "camera raw": rb"II\*\0.{4}CR|.{4}ftypcrx|FUJIFILM",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "AVIF": rb".{4}ftyp(.{4}){0,16}?avi[fs]",
    "HEIC": rb".{4}ftyp(he[iv]|mif1|msf1)",
    "video": rb".{4}ftyp|RIFF.{4}AVI |\x1aE\xdf\xa3",
    "JPEG 2000": rb".{4}jP  |\xff\x4f\xff\x51",
    "JPEG XL": rb".{4}JXL |\xff\x0a",
    "ICO": rb"\0\0\x01\0",
    "Photoshop": rb"8BPS",
    "PDF": rb"%PDF",
    "PostScript": rb"%!PS",
    "ZIP": rb"PK\x03\x04",
    "SVG": rb"\s*(<[?!].{0,400})?<svg",
    "HTML": rb"(?i)\s*<(!doctype )?html",
    "text": rb"[\t\n\r -~]+\Z",
}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_STRIP = 2**20  # pixels converted at a time: what bounds the temporaries


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


@dataclass(frozen=True)
class Photo:
    """A decoded photograph.

    image: RGB, upright, fully loaded; nobody modifies it, so threads may share it.
    name: the file's name without its folder, "image" or "array"; for messages and provenance.
    sha256: of the encoded bytes as given; for an array or a Pillow image, of mode, size and RGB pixels.
    format: "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF" or "AVIF"; "array" for pixels that come from no file.
    """

    image: Image.Image
    name: str
    sha256: str
    format: str

    @property
    def size(self) -> tuple[int, int]:
        """(W, H) in pixels."""
        return self.image.size


def read_photo(source: Source, *, max_pixels: int, max_bytes: int) -> Photo:
    """Decode one photograph to upright RGB; of an animation, its first frame.

    source: a path; encoded bytes; a binary file object, read from where it stands; a Pillow image, turned as
    its EXIF says; or a uint8 array (H, W), (H, W, 3) RGB or (H, W, 4) RGBA.

    What is transparent is laid over white. 16-bit greys run from 0 to 65535. Of 32-bit numbers 0 is black,
    and white the smallest of 1 (floats only), 255 and 65535 that no value exceeds; where values lie outside
    all of these, the picture's least is black and its greatest white.

    Raises ImageTypeError for a format we do not take, ImageTooLarge for more than max_pixels (read from the
    header, before decoding), BodyTooLarge for more than max_bytes, ImageError for what is missing, empty, cut
    off, damaged or no picture at all.
    """
    if isinstance(source, np.ndarray):
        return _adopt(_from_array(source), "array", max_pixels)
    name = _base_name(source)
    if isinstance(source, Image.Image):
        return _adopt(source, name, max_pixels)
    data = _encoded(source, name, max_bytes)
    kind = _kind(data, name)
    with _one_error(name, kind, max_pixels):
        pixels = _decode(data, name, kind, max_pixels)
    return Photo(pixels, name, hashlib.sha256(data).hexdigest(), kind)


def encode(image: Image.Image, format: str, *, quality: int = 90) -> bytes:
    """The bytes of `image` (RGB; for PNG and WebP also L or RGBA) as a file of `format`, a key of OUTPUTS.

    quality: 1..100, of JPEG and WebP. Raises UnknownName for another format, OptionError for another quality
    and for an image with a longer side than the format can hold.
    """
    if format not in OUTPUTS:
        raise errors.UnknownName("image format", format, OUTPUTS)
    if not 1 <= quality <= 100:
        raise errors.OptionError(f"quality = {quality}: allowed are 1 to 100; try 90")
    if max(image.size) > OUTPUTS[format].longest_side:
        raise errors.OptionError(
            f"the image is {image.width} x {image.height}; allowed in a {format} are "
            f"{OUTPUTS[format].longest_side} pixels a side. Try png or a smaller image."
        )
    # For a service that is waited for; measured against Pillow's defaults on three overlays of 1500 x 1000.
    # png: run lengths only; 72 for 340 ms and no more bytes, except of drawings with repeated patterns.
    # jpeg: colour at full resolution keeps the heat's edges for 35 % more bytes.
    # webp: 40 for 95 ms and 4 % more bytes.
    options: dict[str, dict[str, Any]] = {
        "png": {"compress_level": 1, "compress_type": zlib.Z_RLE},
        "jpeg": {"quality": quality, "subsampling": "4:4:4"},
        "webp": {"quality": quality, "method": 2},
    }
    buffer = io.BytesIO()
    image.save(buffer, format, **options[format])
    return buffer.getvalue()


def _base_name(source: object) -> str:
    """The name of what was given, opened or uploaded, without its folder, whichever way its slashes lean."""
    is_path = isinstance(source, str | os.PathLike)
    name = source if is_path else getattr(source, "filename", None) or getattr(source, "name", None)
    return re.split(r"[/\\]", str(name))[-1] if isinstance(name, str | os.PathLike) and str(name) else "image"


def _encoded(source: object, name: str, max_bytes: int) -> bytes:
    try:
        data = _read(source, name, max_bytes)
    except (OSError, ValueError) as error:
        given = str(source) if isinstance(source, str | os.PathLike) else name
        hint = (
            " URLs are not fetched: download it first." if "://" in given else " Check the path and rights."
        )
        raise ImageError(
            f"cannot read {given!r}: {getattr(error, 'strerror', None) or error}.{hint}"
        ) from None
    if not data:
        raise ImageError(f"{name!r} is empty; a file object is read from where it stands: try seek(0) first")
    return data


def _read(source: object, name: str, max_bytes: int) -> bytes:
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        _check_bytes(path.stat().st_size, name, max_bytes)
        with path.open("rb") as file:
            return _read_stream(file, name, max_bytes)
    if isinstance(source, bytes | bytearray | memoryview):
        _check_bytes(memoryview(source).nbytes, name, max_bytes)
        return bytes(source)
    if hasattr(source, "read"):
        return _read_stream(cast(BinaryIO, source), name, max_bytes)
    raise ImageError(
        f"a {type(source).__name__} is no image; allowed are a path, encoded bytes, a binary file object, a "
        "Pillow image or a uint8 array (H, W, 3). Of a tensor (3, H, W) with values 0..1 try "
        "(255 * tensor).byte().permute(1, 2, 0).numpy()."
    )


def _read_stream(stream: BinaryIO, name: str, max_bytes: int) -> bytes:
    parts, count = [], 0
    while part := stream.read(2**20):
        if isinstance(part, str):
            raise ImageError(f"{name!r} is open as text; allowed are binary files: try open(..., 'rb')")
        parts.append(part)
        count += len(part)
        _check_bytes(count, name, max_bytes)
    return b"".join(parts)


def _check_bytes(count: int, name: str, max_bytes: int) -> None:
    if count > max_bytes:
        raise errors.BodyTooLarge(
            f"{name!r} has {count / 2**20:.4g} MiB or more; allowed are {max_bytes / 2**20:.4g} "
            "(limits.body_megabytes). Try a smaller copy, or JPEG."
        )


def _check_size(size: tuple[int, int], what: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise errors.ImageTooLarge(
            f"{what} is {width} x {height} = {width * height / 1e6:.4g} megapixels; allowed are "
            f"{max_pixels / 1e6:.4g} (limits.megapixels). Try a smaller copy."
        )
    if not width * height:
        raise ImageError(f"{what} is {width} x {height}; allowed is 1 x 1 and more")


def _kind(data: bytes, name: str) -> str:
    kinds = (kind for kind, begin in _SIGNATURES.items() if re.match(begin, data[:512], re.DOTALL))
    kind = next(kinds, None)
    if kind in _READERS:
        return kind
    found = f"seems to be {kind}" if kind else "is not an image that camserve knows"
    raise errors.ImageTypeError(
        f"{name!r} {found}; allowed are JPEG (of an MPO the first picture), PNG, WebP, GIF, BMP, TIFF and "
        "AVIF. Try saving it as JPEG or PNG."
    )


@contextmanager
def _one_error(name: str, kind: str, max_pixels: int) -> Iterator[None]:
    """Whatever Pillow raises on hostile bytes, which is nearly anything, as the one error that it means."""
    try:
        yield
    except errors.CamserveError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = int(re.findall(r"\d+", str(error))[0])
        allowed = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))  # Pillow's own: GIF, WebP, TIFF
        raise errors.ImageTooLarge(
            f"{name!r} has {pixels / 1e6:.4g} megapixels; allowed in a {kind} are {allowed / 1e6:.4g} "
            "(limits.megapixels). Try a smaller copy."
        ) from None
    except Exception as error:
        fault = (
            "is cut off (truncated)"
            if "truncated" in str(error).lower()
            else "is damaged, cut off or of a rare variant"
        )
        raise ImageError(
            f"{name!r} cannot be decoded: this {kind} {fault}. Try sending it again, or saving it as PNG."
        ) from None


def _decode(data: bytes, name: str, kind: str, max_pixels: int) -> Image.Image:
    image = _READERS[kind](io.BytesIO(data), "")
    _check_size(image.size, repr(name), max_pixels)
    tile = [getattr(image, "tag_v2", {}).get(tag) for tag in (Tag.TileWidth, Tag.TileLength)]
    if isinstance(tile[0], int) and isinstance(tile[1], int):
        _check_size((tile[0], tile[1]), f"a tile of {name!r}", max_pixels)
    image.load()
    turn, pixels = _turn(image), _rgb(image)
    del image  # its pixels can go before turning makes another set
    return pixels if turn is None else pixels.transpose(turn)


def _adopt(image: Image.Image, name: str, max_pixels: int) -> Photo:
    """The photograph of a Pillow image, which stays the caller's and as it is."""
    _check_size(image.size, repr(name), max_pixels)
    with _one_error(name, image.format or "image", max_pixels):
        pixels = _rgb(image.copy() if image.mode == "RGB" else image)
        turn = _turn(image)
        pixels = pixels if turn is None else pixels.transpose(turn)
    digest = hashlib.sha256(f"RGB {pixels.width} {pixels.height} ".encode())
    for box in _strips(pixels.size):
        digest.update(pixels.crop(box).tobytes())
    return Photo(pixels, name, digest.hexdigest(), image.format or "array")


def _from_array(array: npt.NDArray[Any]) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,), (4,)):
        raise ImageError(
            f"an array of {array.dtype} {array.shape} is no picture; allowed is uint8 in the shape (H, W), "
            "(H, W, 3) or (H, W, 4). Try array.transpose(1, 2, 0) of a (3, H, W), "
            "(255 * array).astype('uint8') of values 0..1."
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes a loaded image upright; nothing for a TIFF, which Pillow turns while loading."""
    try:
        return _TURNS.get(image.getexif().get(Tag.Orientation, 1))
    except Exception:  # broken EXIF costs the turn, not the picture
        return None


def _rgb(image: Image.Image) -> Image.Image:
    """A bare RGB image: a reader's own holds on to the encoded bytes and, of WebP, to two canvases.

    RGB pixels are handed over, others are converted.
    """
    image.load()
    if image.mode == "RGB" and not image.has_transparency_data:
        bare = image._new(image.im)
        bare.info.clear()
        return bare
    flat = Image.new("RGB", image.size, "white")
    span = _span(image) if image.mode[0] in "IF" else None
    for box in _strips(image.size):
        strip = image.crop(box)
        if span:
            flat.paste(_scaled(strip, *span), box)
        elif strip.has_transparency_data:
            strip = _with_alpha(strip)
            flat.paste(strip, box, strip)
        else:
            flat.paste(strip.convert("RGB"), box)
    return flat


def _strips(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of whole rows, about a megapixel each, from top to bottom."""
    width, height = size
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)


def _with_alpha(strip: Image.Image) -> Image.Image:
    key = strip.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:  # of a 16-bit PNG, whose pixels Pillow has cut to 8 bits
        strip.info["transparency"] = tuple(value >> 8 for value in key)
    return (strip.convert("LA") if strip.mode == "La" else strip).convert("RGBA")


def _span(image: Image.Image) -> tuple[float, float]:
    """The values that mean black and white in an image of mode I;16 (any byte order), I or F."""
    if image.mode.startswith("I;16"):
        return 0, 65535
    low, high = cast(tuple[float, float], image.getextrema())
    whites = (255, 65535) if image.mode == "I" else (1, 255, 65535)
    return next(((0, white) for white in whites if low >= 0 and high <= white), (low, high))


def _scaled(strip: Image.Image, black: float, white: float) -> Image.Image:
    values = np.asarray(strip).astype(np.float64)
    if not np.isfinite(values).all():
        raise ImageError("the image has values that are NaN or infinite; allowed are numbers")
    grey = np.rint((values - black) * 255 / ((white - black) or 1))  # all values alike: black
    key = strip.info.get("transparency")
    return Image.fromarray((grey if key is None else np.where(values == key, 255, grey)).astype(np.uint8))
