"""Pillow images to arrays and back. Pillow's own conversion would make a second copy of the pixels; this does not."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

_STRIP = 2**20  # pixels converted at a time; limits temporary memory


def strips(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of whole rows, about a megapixel each, from top to bottom."""
    width, height = size
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)


def pixels_of(image: Image.Image) -> Pixels:
    """The pixels of an RGB image, uint8 (H, W, 3), in memory of their own."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for box in strips(image.size):
        pixels[box[1] : box[3]] = np.asarray(image.crop(box) if box[3] - box[1] < image.height else image)
    return pixels


def image_of(pixels: Pixels) -> Image.Image:
    """A Pillow image, RGB, of pixels (H, W, 3), with memory of its own: 4 bytes for each pixel."""
    height, width, _ = pixels.shape
    return Image.frombuffer("RGB", (width, height), np.ascontiguousarray(pixels), "raw", "RGB", 0, 1)
