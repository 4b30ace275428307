"""Pictures of bands (multispectral, or with depth): the unchanged numbers, and up to three bands as a visible picture.

The network gets the numbers of the file: they are not windowed, laid over white or converted to grey.
"""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from camserve.errors import ImageError
from camserve.images.arrays.pixel_arrays import pixels_of
from camserve.images.decoding import numbers_in, numbers_of
from camserve.images.limits import Limits, check_size
from camserve.images.pixels import from_numbers, turn_of
from camserve.images.reading import Photo, Source, known_kind, one_error
from camserve.images.sources import base_name, encoded

_TURNED: dict[Image.Transpose, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    Image.Transpose.FLIP_LEFT_RIGHT: lambda values: values[:, ::-1],
    Image.Transpose.FLIP_TOP_BOTTOM: lambda values: values[::-1],
    Image.Transpose.ROTATE_90: np.rot90,
    Image.Transpose.ROTATE_180: lambda values: values[::-1, ::-1],
    Image.Transpose.ROTATE_270: lambda values: np.rot90(values, 3),
    Image.Transpose.TRANSPOSE: lambda values: values.swapaxes(0, 1),
    Image.Transpose.TRANSVERSE: lambda values: np.rot90(values, 2).swapaxes(0, 1),
}


class Bands(NamedTuple):
    """Samples of a picture, counted from 0. given: those that the network gets; shown: one or three that are drawn."""

    given: tuple[int, ...]
    shown: tuple[int, ...]


def read_bands(
    source: Source, bands: Bands, *, max_pixels: int, max_side: int, max_bytes: int, local: bool = False
) -> Photo:
    """Read a picture with all its samples: any source that `read_photo` takes, or an array (H, W) or (H, W, C).

    The `image` of the result shows the bands `bands.shown`: unchanged if they have 8 bits, else with black and white
    from `camserve.images.windows`. Raises the errors of `camserve.images.reading.read_photo`, and ImageError if there
    are too few samples or a value is NaN or infinite.
    """
    limits, sha256, notes = Limits(max_pixels, max_side, local), None, list[str]()
    if isinstance(source, np.ndarray):
        name, kind, values = "array", "array", _of_array(source, limits)
    elif isinstance(source, Image.Image):
        name, kind = base_name(source), source.format or "array"
        check_size(source.size, repr(name), limits)
        with one_error(name, kind, limits):
            values = upright(numbers_of(source), turn_of(source))
    else:
        name = base_name(source)
        data = encoded(source, name, max_bytes, local=local)
        kind, sha256 = known_kind(data, name), hashlib.sha256(data).hexdigest()
        with one_error(name, kind, limits):
            values, turn, notes = numbers_in(data, name, kind, limits)
            values = upright(values, turn)
    _check(values, bands, name)
    image, more = _shown(values, bands)
    return Photo(pixels_of(image), name, kind, sha256 or _sha256(values), (*notes, *more), values)


def upright(values: npt.NDArray[Any], turn: Image.Transpose | None) -> npt.NDArray[Any]:
    """Numbers (H, W, C) after a turn that is named as for a Pillow image."""
    return values if turn is None else np.ascontiguousarray(_TURNED[turn](values))


def _of_array(array: npt.NDArray[Any], limits: Limits) -> npt.NDArray[Any]:
    """A copy, (H, W, C). Raises ImageError for an array that is not a picture, ImageTooLarge before copying."""
    if array.dtype.kind not in "uif" or array.ndim not in (2, 3) or not array.size:
        raise ImageError(
            f"an array of {array.dtype} {array.shape} is not a picture of bands; allowed are numbers in the shape "
            "(H, W) or (H, W, C). Try array.transpose(1, 2, 0) if the shape is (C, H, W)."
        )
    check_size(array.shape[1::-1], repr("array"), limits)
    with one_error("array", "array", limits):
        values = np.array(array)
    return values[..., None] if values.ndim == 2 else values


def _check(values: npt.NDArray[Any], bands: Bands, name: str) -> None:
    """Raises ImageError if a band is missing or has a value that is NaN or infinite."""
    needed, there = 1 + max(*bands.given, *bands.shown), values.shape[2]
    listed = ", ".join(map(str, bands.given))
    if there < needed:
        raise ImageError(
            f"{name!r} has {there} samples a pixel; this model takes the bands {listed}, counted from 0, so allowed "
            f"are pictures of {needed} or more samples. Try the file that contains all bands, or another model."
        )
    for band in {*bands.given, *bands.shown} if values.dtype.kind == "f" else ():
        if not np.isfinite(values[..., band]).all():
            raise ImageError(
                f"band {band} of {name!r} has values that are NaN or infinite; allowed are finite numbers. Try "
                "replacing them, for example by the mean of the band."
            )


def _shown(values: npt.NDArray[Any], bands: Bands) -> tuple[Image.Image, list[str]]:
    """The visible picture, RGB, and notes about its window."""
    seen = values[..., list(bands.shown)]
    if seen.dtype != np.uint8:
        return from_numbers(seen, len(bands.shown))
    return Image.fromarray(seen if len(bands.shown) == 3 else seen[..., 0]).convert("RGB"), []


def _sha256(values: npt.NDArray[Any]) -> str:
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape} ".encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
