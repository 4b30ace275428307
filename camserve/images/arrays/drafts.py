"""Decode JPEGs at a half, a quarter or an eighth of their size. The decoder never makes the full picture."""

from collections.abc import Callable

from PIL import Image

from camserve.images.pixels import turn_of

Size = tuple[int, int]
# From the size (W, H) of an upright photograph to the factor by which it may be made smaller.
Smaller = Callable[[Size], float]

DIVISORS = (8, 4, 2)  # a JPEG's blocks of 8 x 8 pixels become 1 x 1, 2 x 2 and 4 x 4


def shrink(image: Image.Image, smaller: Smaller) -> tuple[Size, list[str]] | None:
    """Set up a JPEG that is not loaded yet to be decoded smaller.

    Returns its full size (W, H), upright, and a note; None if it keeps its size. Only factors that divide both sides
    are used: then each pixel stands for the same number of full pixels, and positions are exact.
    """
    width, height = image.size
    whole = (width, height) if not _lies(image) else (height, width)
    most = smaller(whole)
    by = next((by for by in DIVISORS if by <= most and width % by == 0 and height % by == 0), None)
    if by is None:
        return None
    wanted = width // by, height // by
    if image.draft(None, wanted) is None or image.size != wanted:
        return None
    return whole, [f"decoded at 1/{by} of its size, because no picture of it was requested (images.draft)"]


def _lies(image: Image.Image) -> bool:
    """Whether width and height change places when the image is made upright."""
    turn = turn_of(image)
    return turn is not None and turn.name in ("ROTATE_90", "ROTATE_270", "TRANSPOSE", "TRANSVERSE")
