"""JPEGs decoded at a half, a quarter or an eighth of their size, by the decoder's own transform: no pixel in full."""

from collections.abc import Callable

from PIL import Image

from camserve.images.pixels import turn_of

Size = tuple[int, int]
# By how much a photograph of (W, H) pixels, upright, may be made smaller.
Smaller = Callable[[Size], float]

DIVISORS = (8, 4, 2)  # a JPEG's blocks of 8 x 8 pixels become 1 x 1, 2 x 2 and 4 x 4


def shrink(image: Image.Image, smaller: Smaller) -> tuple[Size, list[str]] | None:
    """Makes a JPEG that is not loaded yet come smaller. (W, H) that it has, upright, and a note; None where it stays.

    Only by what divides both sides: then each pixel stands for as many as any other, and places are exact.
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
    return whole, [f"decoded at 1/{by} of its size, as no picture of it was asked for (images.draft)"]


def _lies(image: Image.Image) -> bool:
    """Whether making it upright changes its sides."""
    turn = turn_of(image)
    return turn is not None and turn.name in ("ROTATE_90", "ROTATE_270", "TRANSPOSE", "TRANSVERSE")
