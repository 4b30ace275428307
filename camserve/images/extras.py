"""What readers of formats with an extra library return, and the error if the library is missing."""

from typing import Any, NamedTuple

import numpy.typing as npt
from PIL import Image

from camserve.errors import ImageTypeError


class Decoded(NamedTuple):
    """An upright picture with its colours as stored.

    pixels: a Pillow image; or numbers (H, W, samples) that `colours`, `alpha` and `depth` describe as in
    `camserve.images.pixels.from_numbers`. notes: for the user. profile: the colour profile (ICC).
    """

    pixels: Image.Image | npt.NDArray[Any]
    notes: list[str]
    profile: bytes | None = None
    colours: int = 3
    alpha: str | None = None
    depth: int | None = None


def missing(name: str, what: str, package: str) -> ImageTypeError:
    """The error to raise if the library that reads a format is not installed."""
    return ImageTypeError(f'{name!r} is {what}; reading it needs {package}. Try pip install "camserve[pictures]"')
