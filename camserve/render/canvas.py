"""A picture that is painted on as an array and drawn on by Pillow, both in one memory: nothing is copied in between."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from camserve.render import native_painter

Pixels = npt.NDArray[np.uint8]


class Canvas(NamedTuple):
    """What is painted on.

    image: RGB. blocks: the photograph's mean over blocks of `block_of` its size, RGB. memory: the pixels of the image,
    uint8 (H, W, 4), of which the last is nothing; None where only Pillow has them.
    """

    image: Image.Image
    blocks: Image.Image
    memory: Pixels | None = None


def canvas_of(photo: Pixels | Image.Image, *, native: bool) -> Canvas:
    """A copy of a photograph to paint on: pixels (H, W, 3), or a Pillow image of any mode. native: by compiled code."""
    if native and native_painter.painter() is not None and can_share():
        pixels = np.asarray(photo.convert("RGB")) if isinstance(photo, Image.Image) else photo
        size = pixels.shape[1], pixels.shape[0]
        memory, means = native_painter.start_canvas(np.ascontiguousarray(pixels), block_of(size))
        return Canvas(_shared_image(memory), Image.fromarray(means), memory)
    image = photo.convert("RGB") if isinstance(photo, Image.Image) else _image_of(photo)
    return Canvas(image, image.reduce(block_of(image.size)))


def block_of(size: tuple[int, int]) -> int:
    """The side, in pixels, of the blocks of a photograph of (W, H) that say how light a pixel's surroundings are."""
    return int(2 ** max(1, round(math.log2(0.03 * math.sqrt(size[0] * size[1])))))


def _image_of(pixels: Pixels) -> Image.Image:
    size = pixels.shape[1], pixels.shape[0]
    return Image.frombuffer("RGB", size, np.ascontiguousarray(pixels), "raw", "RGB", 0, 1)


def _shared_image(memory: Pixels) -> Image.Image:
    """An RGB image in the memory of an array (H, W, 4): whoever draws on it writes into the array.

    Pillow's RGB has four bytes a pixel, the last of which is padding. `Image.frombuffer` lays RGBX over memory in this
    way, which has the same bytes, and marks it as not to be written.
    """
    height, width, _ = memory.shape
    laid = Image.core.map_buffer(memory, (width, height), "raw", 0, ("RGB", 4 * width, 1))  # type: ignore[attr-defined]
    return Image.new("RGB", (0, 0))._new(laid)


@lru_cache(maxsize=1)
def can_share() -> bool:
    """Whether this Pillow draws in the memory of an array, tried out: what it takes is not promised."""
    memory = np.zeros((2, 3, 4), np.uint8)
    try:
        image = _shared_image(memory)
        memory[1, 2, :3] = 7, 8, 9
        image.paste((1, 2, 3), (0, 0, 1, 1))
        return image.mode == "RGB" and image.getpixel((2, 1)) == (7, 8, 9) and memory[0, 0, :3].tolist() == [1, 2, 3]
    except Exception:
        return False
