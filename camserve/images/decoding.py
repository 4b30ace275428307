"""Encoded bytes of a known format to upright RGB pixels, with notes about how they were read.

Each format's reader is called directly, because `Image.open` cannot tell a damaged JPEG from a text file, fails on
an MPO with a broken index, and warns and refuses by a limit of the whole process.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImagePalette
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ExifTags import Base as Tag
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import COMPRESSION_INFO, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from camserve.errors import ImageError
from camserve.images.arrays.drafts import Smaller, shrink
from camserve.images.arrays.pixel_arrays import Pixels, pixels_of
from camserve.images.arrays.quick_jpeg import quick_pixels
from camserve.images.coded_sizes import coded_size
from camserve.images.dicom import read_dicom
from camserve.images.extras import Decoded
from camserve.images.heic import read_heic
from camserve.images.jpeg_xl import read_jpeg_xl
from camserve.images.limits import Limits, check_size
from camserve.images.pixels import TURNS, from_numbers, to_rgb, turn_of
from camserve.images.quiet import silence_libtiff
from camserve.images.rare_tiff import is_rare, read_rare
from camserve.images.samples import UNPACKED, is_ours, not_ours, read_samples
from camserve.images.tiff import Page, first_at, picture_of
from camserve.images.windows import bounds

silence_libtiff()

READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
    "AVIF": AvifImageFile,
}
# PNGs of 16-bit colours. {how Pillow unpacks the upper bytes: (mode, how it unpacks the lower bytes)}
_DEEP = {"RGB;16B": ("RGB", "RGB;16L"), "RGBA;16B": ("RGBA", "RGBA;16L"), "LA;16B": ("RGBA", "RGBA")}
# Formats whose library is an extra. It is imported when the first picture of the format is read
EXTRAS: dict[str, Callable[[bytes, str, Limits], Decoded | bytes]] = {
    "HEIC": read_heic,
    "JPEG XL": read_jpeg_xl,
    "DICOM": read_dicom,
}
_COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}  # {photometric interpretation of a TIFF: number of samples that are colours}


def decode(data: bytes, name: str, kind: str, limits: Limits, *, icc: bool = True) -> tuple[Pixels, list[str]]:
    """The upright pixels (H, W, 3) of the picture in `data`, and notes.

    icc: whether to convert colours with a profile to sRGB.

    Raises whatever the libraries raise for damaged bytes.
    """
    if kind == "TIFF":
        picture, notes = _decode_tiff(data, name, limits, icc)
        return pixels_of(picture), notes
    if kind in EXTRAS:
        return _decode_extra(data, name, kind, limits, icc)
    image = _opened(data, name, kind, limits)
    if isinstance(image, JpegImageFile) and turn_of(image) is None:
        quick = quick_pixels(data, image)
        if quick is not None:
            return quick, []
    return _loaded(image, data, kind, icc)


def decode_draft(
    data: bytes, name: str, limits: Limits, smaller: Smaller, *, icc: bool = True
) -> tuple[Pixels, list[str], tuple[int, int] | None]:
    """A JPEG decoded as small as `smaller` allows: pixels, notes, and the full size (W, H), upright.

    The full size is None if the JPEG was not decoded smaller, but as by `decode`.
    """
    image = _opened(data, name, "JPEG", limits)
    drafted = shrink(image, smaller)
    if drafted is None:
        return *decode(data, name, "JPEG", limits, icc=icc), None
    whole, said = drafted
    pixels, notes = _loaded(image, data, "JPEG", icc)
    return pixels, [*said, *notes], whole


def _loaded(image: ImageFile.ImageFile, data: bytes, kind: str, icc: bool) -> tuple[Pixels, list[str]]:
    moves = ["only the first picture of this animation is explained"] if _is_animated(image) else []
    raw = image.tile[0][3] if kind == "PNG" and image.tile else None
    image.load()
    profile = image.info.get("icc_profile") if icc else None
    picture, notes = _deep_png(data, image, raw, profile) or to_rgb(image, profile)
    turn = turn_of(image)
    del image  # frees its pixels before turning makes a copy
    picture = picture if turn is None else picture.transpose(turn)
    return pixels_of(picture), [*moves, *notes]


def _opened(data: bytes, name: str, kind: str, limits: Limits) -> ImageFile.ImageFile:
    """Open a picture within the limits, without decoding it."""
    try:
        image = READERS[kind](io.BytesIO(data), "")
    except OSError:
        # WebP's decoder raises the same error for damage and for too little memory
        if kind == "WEBP" and (size := coded_size(data)):
            check_size(size, repr(name), limits)
            np.empty((2, *size, 4), np.uint8)  # the memory that it needs; raises MemoryError
        raise
    check_size(image.size, repr(name), limits)
    return image


def _decode_extra(data: bytes, name: str, kind: str, limits: Limits, icc: bool) -> tuple[Pixels, list[str]]:
    """Decode a format whose library is an extra. The libraries turn pictures upright themselves."""
    read = EXTRAS[kind](data, name, limits)
    if isinstance(read, bytes):  # a JPEG that was packed as JPEG XL
        return decode(read, name, "JPEG", limits, icc=icc)
    profile = read.profile if icc else None
    if isinstance(read.pixels, Image.Image):
        image, notes = to_rgb(read.pixels, profile)
    else:
        image, notes = from_numbers(read.pixels, read.colours, alpha=read.alpha, depth=read.depth, profile=profile)
    return pixels_of(image), [*read.notes, *notes]


def _is_animated(image: ImageFile.ImageFile) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a broken second frame costs the note, not the picture
        return False


def _deep_png(data: bytes, image: Image.Image, raw: Any, profile: bytes | None) -> tuple[Image.Image, list[str]] | None:
    """A PNG of 16-bit colours that uses little of their range: Pillow gives the upper bytes, which then say little."""
    if raw not in _DEEP:
        return None
    colours = 1 if raw[0] == "L" else 3
    least, greatest = bounds(np.asarray(image)[..., :colours])
    if greatest >= 64 and (least <= 32 or greatest - least >= 31):
        return None
    values = _deep_values(data, image, raw)
    assert values is not None
    alpha = "straight" if values.shape[2] > colours else None
    return from_numbers(values, colours, alpha=alpha, key=image.info.get("transparency"), profile=profile)


def _deep_values(data: bytes, image: Image.Image, raw: Any) -> npt.NDArray[Any] | None:
    """The numbers of a PNG of 16-bit colours, of which Pillow gives only the upper bytes; None for other pictures."""
    if raw not in _DEEP:
        return None
    mode, unpacking = _DEEP[raw]
    high = np.asarray(image)
    again = PngImageFile(io.BytesIO(data), "")
    again._mode = mode
    again.tile = [again.tile[0]._replace(args=unpacking)]
    again.load()
    low = np.asarray(again)
    if raw[0] == "L":  # read as four bytes: two of the grey value, two of the transparency
        high, low = high[..., [0, -1]], low[..., 1::2]
    values: npt.NDArray[Any] = high.astype(np.uint16) << 8 | low
    return values


def numbers_in(
    data: bytes, name: str, kind: str, limits: Limits
) -> tuple[npt.NDArray[Any], Image.Transpose | None, list[str]]:
    """All samples of the picture in `data`, (H, W, samples), the turn that makes them upright, and notes.

    Samples are unchanged, except those of a palette, of a compression that only Pillow unpacks, and of the formats of
    EXTRAS: these are as Pillow or `decode` gives them. Raises the errors of `decode`.
    """
    if kind in EXTRAS:
        picture, notes = decode(data, name, kind, limits, icc=False)
        return picture, None, notes
    if kind == "TIFF":
        page, notes = _page_of(data, name, limits)
        if is_rare(page) or (page.photometric in _COLOURS and page.one("compression", 1) in UNPACKED):
            return _unpacked(data, page, name, limits), TURNS.get(page.one("orientation", 1)), notes
        return numbers_of(_by_pillow(data, page, name)), None, notes
    image = _opened(data, name, kind, limits)
    notes = ["only the first picture of this animation is explained"] if _is_animated(image) else []
    raw = image.tile[0][3] if kind == "PNG" and image.tile else None
    image.load()
    values = _deep_values(data, image, raw)
    return numbers_of(image) if values is None else values, turn_of(image), notes


def numbers_of(image: Image.Image) -> npt.NDArray[Any]:
    """The samples of a Pillow image, (H, W, samples): 1 for grey, 2 with transparency, 3 for RGB, 4 for RGBA, CMYK."""
    if image.mode not in ("RGB", "RGBA", "L", "LA", "CMYK") and image.mode[0] not in "IF":
        grey = {"1": "L", "La": "LA", "RGBa": "RGBA"}.get(image.mode)
        image = image.convert(grey or ("RGBA" if image.has_transparency_data else "RGB"))
    values = np.asarray(image)
    return values[..., None] if values.ndim == 2 else values


def _decode_tiff(data: bytes, name: str, limits: Limits, icc: bool) -> tuple[Image.Image, list[str]]:
    page, notes = _page_of(data, name, limits)
    notes += _about_samples(page)
    profile = page.tags["icc"].tobytes() if icc and "icc" in page.tags else None
    if is_rare(page) or is_ours(page):
        pixels, more = _of_numbers(data, page, name, limits, profile)
        turn = TURNS.get(page.one("orientation", 1))
    else:
        (pixels, more), turn = to_rgb(_by_pillow(data, page, name), profile), None  # Pillow turns a TIFF while loading
    return pixels if turn is None else pixels.transpose(turn), [*notes, *more]


def _page_of(data: bytes, name: str, limits: Limits) -> tuple[Page, list[str]]:
    """The page to read, and notes. Raises ImageTooLarge if its size or its tiles exceed the limits."""
    page, notes = picture_of(data, name)
    check_size(page.size, repr(name), limits)
    if "tile_width" in page.tags and "tile_height" in page.tags:
        check_size((page.one("tile_width", 0), page.one("tile_height", 0)), f"a tile of {name!r}", limits)
    return page, notes


def _unpacked(data: bytes, page: Page, name: str, limits: Limits) -> npt.NDArray[Any]:
    return read_rare(data, page, name, limits) if is_rare(page) else read_samples(data, page, name, limits)


def _by_pillow(data: bytes, page: Page, name: str) -> Image.Image:
    if page.one("compression", 1) not in COMPRESSION_INFO:
        raise not_ours(page, name)
    try:
        image = TiffImageFile(io.BytesIO(first_at(data, page)), "")
    except SyntaxError as error:
        if "unknown" in str(error):
            raise not_ours(page, name) from None
        raise
    # Pillow divides a palette by 256, which would make one of 8-bit values black
    if image.mode in ("P", "PA") and max(image.tag_v2[Tag.ColorMap]) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(image.tag_v2[Tag.ColorMap]))
    image.load()
    return image


def _of_numbers(
    data: bytes, page: Page, name: str, limits: Limits, profile: bytes | None
) -> tuple[Image.Image, list[str]]:
    colours = _COLOURS.get(page.photometric)
    if colours is None or page.samples < colours:
        raise not_ours(page, name)
    extras = page.samples - colours
    if colours == 1 and extras > 1:
        raise ImageError(
            f"{name!r} is a TIFF of {page.samples} channels that are not marked as colours ({page}); allowed are grey "
            "and RGB. Try saving three of them as an 8-bit RGB PNG, or a model of bands (bands=)."
        )
    values = _unpacked(data, page, name, limits)
    depth = page.bits if 0 < page.bits < 16 and page.format == "unsigned" else None  # 16 bits may hold fewer
    alpha = {1: "premultiplied", 2: "straight"}.get(_first_extra(page)) if extras else None
    inverted = page.photometric == 0
    return from_numbers(values, colours, alpha=alpha, inverted=inverted, depth=depth, profile=profile)


def _first_extra(page: Page) -> int:
    """The meaning of the first sample after the colours: 1 or 2 is transparency, 0 is something else."""
    return page.one("extras", 2 if page.photometric == 2 and page.samples == 4 else 0)


def _about_samples(page: Page) -> list[str]:
    """Notes about samples that are not colours, or that the file does not mark as colours."""
    notes = []
    colours = _COLOURS.get(page.photometric)
    if "photometric" not in page.tags and colours == 1:
        notes.append("the file does not say whether 0 is black or white; 0 is taken as black")
    extras = page.samples - (colours or page.samples)
    if extras == 1 and "extras" not in page.tags and page.photometric == 2:
        notes.append("the file does not say what the fourth channel is; it is taken as transparency")
    left_out = extras - (_first_extra(page) in (1, 2))
    if extras > 0 and left_out > 0:
        notes.append(f"{left_out} of {page.samples} channels are left out, because they are not marked as colours")
    return notes
