"""Pixels of every mode, and arrays, to upright RGB; nothing here opens or saves a file.

Conversion goes strip by strip, so that temporary copies stay small.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ExifTags import Base as Tag

from camserve.errors import ImageError
from camserve.images.arrays.pixel_arrays import strips
from camserve.images.limits import Limits, check_size
from camserve.images.profiles import conversion
from camserve.images.windows import Window, first_white, not_numbers, window_of

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def from_array(array: npt.NDArray[Any], limits: Limits) -> Image.Image | npt.NDArray[np.uint8]:
    """A uint8 array (H, W) or (H, W, 4) RGBA as a Pillow image that may share its memory; (H, W, 3) unchanged.

    Raises ImageError for any other array, ImageTooLarge before anything is copied.
    """
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,), (4,)):
        raise ImageError(
            f"an array of {array.dtype} {array.shape} is not a picture; allowed is uint8 in the shape (H, W), "
            "(H, W, 3) or (H, W, 4). Try array.transpose(1, 2, 0) if the shape is (3, H, W), and "
            "(255 * array).astype('uint8') if values are 0..1. Only models of bands (bands=) take other types and "
            "channels."
        )
    check_size(array.shape[1::-1], repr("array"), limits)
    return array if array.shape[2:] == (3,) else Image.fromarray(np.ascontiguousarray(array))


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """The turn that makes a loaded image upright; None for a TIFF, which Pillow turns while loading."""
    try:
        return TURNS.get(image.getexif().get(Tag.Orientation, 1))
    except MemoryError:
        raise
    except Exception:  # with broken EXIF the picture is read and not turned
        return None


def to_rgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, list[str]]:
    """A new RGB image without the reader's data, and notes.

    The reader's own image would keep the encoded bytes in memory and, for WebP, two canvases. RGB pixels are taken
    over without a copy, others are converted. profile: of the colours, which are converted to sRGB.
    """
    image.load()
    if image.mode[0] in "IF":
        key = image.info.get("transparency")
        return from_numbers(np.asarray(image)[..., None], 1, key=key, profile=profile)
    to_srgb, notes = conversion(profile, image.mode)
    if image.mode == "RGB" and not image.has_transparency_data:
        bare = image._new(image.im)
        bare.info.clear()
        return (to_srgb(bare) if to_srgb else bare), notes
    flat = Image.new("RGB", image.size, "white")
    for box in strips(image.size):
        strip = image.crop(box)
        mask = strip = _with_alpha(strip) if strip.has_transparency_data else strip
        colours = to_srgb(strip) if to_srgb else strip
        if mask.mode == "RGBA":
            flat.paste(colours, box, mask)
        else:
            flat.paste(colours.convert("RGB"), box)
    return flat, notes


def from_numbers(
    values: npt.NDArray[Any],
    colours: int,
    *,
    alpha: str | None = None,
    inverted: bool = False,
    depth: int | None = None,
    key: Any = None,
    profile: bytes | None = None,
) -> tuple[Image.Image, list[str]]:
    """An RGB image of numbers (H, W, samples), and notes about their window.

    colours: how many samples are colours: 1 grey, 3 RGB, 4 CMYK. alpha: the kind of the next sample if it is
    transparency: "straight" or "premultiplied". inverted: white is zero. depth: see `window_of`. key: the value that
    is transparent. profile: of the colours, which are converted to sRGB.
    """
    window = window_of(_seen(values[..., :colours], key), depth)
    opaque = first_white(values[..., colours]) if alpha else 1
    to_srgb, notes = conversion(profile, {1: "L", 3: "RGB", 4: "CMYK"}[colours])
    flat = Image.new("RGB", values.shape[1::-1])
    for box in strips(flat.size):
        part = values[box[1] : box[3]]
        shown = _scaled(part[..., :colours], window)
        shown = 255 - shown if inverted else shown
        if to_srgb or colours == 4:
            stored = _image(np.rint(shown).astype(np.uint8))
            shown = np.asarray(to_srgb(stored) if to_srgb else stored.convert("RGB"), np.float32)
        if alpha:
            cover = np.clip(part[..., colours, None] / opaque, 0, 1)
            shown = (shown if alpha == "premultiplied" else shown * cover) + 255 * (1 - cover)
        if key is not None:
            shown = np.where((part[..., :colours] == key).all(-1, keepdims=True), 255, shown)
        flat.paste(_image(np.clip(np.rint(shown), 0, 255).astype(np.uint8)).convert("RGB"), box)
    return flat, [*([window.note] if window.note else []), *notes]


def _image(values: npt.NDArray[np.uint8]) -> Image.Image:
    """An image of (H, W, 1), (H, W, 3) or, for CMYK, (H, W, 4)."""
    if values.shape[2] == 1:
        return Image.fromarray(values[..., 0])
    return Image.fromarray(values, "CMYK" if values.shape[2] == 4 else "RGB")


def _seen(values: npt.NDArray[Any], key: Any) -> npt.NDArray[Any]:
    """The pixels that are not transparent; all pixels if every pixel is transparent."""
    kept = values if key is None else values[(values != key).any(-1)][None]
    return kept if kept.size else values


def _with_alpha(strip: Image.Image) -> Image.Image:
    key = strip.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:  # from a 16-bit PNG, whose pixels Pillow has cut to 8 bits
        strip.info["transparency"] = tuple(value >> 8 for value in key)
    return (strip.convert("LA") if strip.mode == "La" else strip).convert("RGBA")


def _scaled(part: npt.NDArray[Any], window: Window) -> npt.NDArray[np.float64]:
    """Numbers as 0 to 255, not yet rounded."""
    values = part.astype(np.float64)
    if not np.isfinite(values).all():
        raise not_numbers()
    span = (window.white - window.black) or 1  # if all values are equal, they become black
    return np.clip((values - window.black) * 255 / span, 0, 255)
