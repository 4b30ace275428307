"""What the readers of formats that need a library of their own give, and the error where the library is missing."""

from typing import Any, NamedTuple

import numpy.typing as npt
from PIL import Image

from camserve.errors import ImageTypeError


class Decoded(NamedTuple):
    """A picture, upright, its colours as they are stored.

    pixels: a Pillow image; or numbers (H, W, samples), of which `colours`, `alpha` and `depth` say what they are, as of
    `camserve.images.pixels.from_numbers`. notes: what is to be said. profile: of its colours (ICC).
    """

    pixels: Image.Image | npt.NDArray[Any]
    notes: list[str]
    profile: bytes | None = None
    colours: int = 3
    alpha: str | None = None
    depth: int | None = None


def missing(name: str, what: str, package: str) -> ImageTypeError:
    """What is raised where the library that reads a format is not installed."""
    return ImageTypeError(f'{name!r} is {what}; reading it needs {package}: pip install "camserve[pictures]"')
