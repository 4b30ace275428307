"""A picture that is both an array and a Pillow image in one memory, so that nothing is copied between the two."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from camserve.render import native_painter

Pixels = npt.NDArray[np.uint8]


class Canvas(NamedTuple):
    """A picture to paint.

    image: RGB. blocks: the photograph's mean over blocks of `block_of` its size, RGB. memory: the pixels of the image,
    uint8 (H, W, 4), whose fourth byte is unused; None if only Pillow has the pixels.
    """

    image: Image.Image
    blocks: Image.Image
    memory: Pixels | None = None


def canvas_of(photo: Pixels | Image.Image, *, native: bool) -> Canvas:
    """Copy a photograph, pixels (H, W, 3) or a Pillow image of any mode, to paint it. native: use compiled code."""
    if native and native_painter.painter() is not None and can_share():
        pixels = np.asarray(photo.convert("RGB")) if isinstance(photo, Image.Image) else photo
        size = pixels.shape[1], pixels.shape[0]
        memory, means = native_painter.start_canvas(np.ascontiguousarray(pixels), block_of(size))
        return Canvas(_shared_image(memory), Image.fromarray(means), memory)
    image = photo.convert("RGB") if isinstance(photo, Image.Image) else _image_of(photo)
    return Canvas(image, image.reduce(block_of(image.size)))


def block_of(size: tuple[int, int]) -> int:
    """Return the side, in pixels, of the blocks whose means say how light the area around a pixel is. size: (W, H)."""
    return int(2 ** max(1, round(math.log2(0.03 * math.sqrt(size[0] * size[1])))))


def _image_of(pixels: Pixels) -> Image.Image:
    size = pixels.shape[1], pixels.shape[0]
    return Image.frombuffer("RGB", size, np.ascontiguousarray(pixels), "raw", "RGB", 0, 1)


def _shared_image(memory: Pixels) -> Image.Image:
    """Return an RGB image in the memory of an array (H, W, 4): drawing on the image changes the array.

    Pillow's RGB has four bytes per pixel; the last byte is padding. `Image.frombuffer` uses memory in the same way for
    RGBX, which has the same bytes, but it makes the image read-only.
    """
    height, width, _ = memory.shape
    laid = Image.core.map_buffer(memory, (width, height), "raw", 0, ("RGB", 4 * width, 1))  # type: ignore[attr-defined]
    return Image.new("RGB", (0, 0))._new(laid)


@lru_cache(maxsize=1)
def can_share() -> bool:
    """Whether this Pillow can draw in the memory of an array. It is tried, because Pillow does not promise it."""
    memory = np.zeros((2, 3, 4), np.uint8)
    try:
        image = _shared_image(memory)
        memory[1, 2, :3] = 7, 8, 9
        image.paste((1, 2, 3), (0, 0, 1, 1))
        return image.mode == "RGB" and image.getpixel((2, 1)) == (7, 8, 9) and memory[0, 0, :3].tolist() == [1, 2, 3]
    except Exception:
        return False
