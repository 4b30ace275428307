"""How other libraries make a network's input: the whole photograph resized, then its middle, pixel for pixel.

A pixel's difference in a size or a corner moves logits by more than rounding does, so each keeps its arithmetic.
"""

import math

from camserve.geometry.frame import Frame

Size = tuple[int, int]


def in_proportion(original: Size, short_side: int, *, nearest: bool = False, multiple: int = 1) -> Size:
    """(w, h) with that short side. nearest: the long side is rounded, else cut off; both go up to a multiple."""
    short = min(original)

    def side(n: int) -> int:
        pixels = round(n * (short_side / short)) if nearest else int(short_side * n / short)
        return math.ceil(pixels / multiple) * multiple

    return side(original[0]), side(original[1])


def within(size: Size, bounds: Size) -> Size:
    """`size` itself where it lies within `bounds` (w, h), else smaller, its longer side deciding the other."""
    width, height = min(size[0], bounds[0]), min(size[1], bounds[1])
    if (width, height) != size and size[1] > size[0]:
        width = int(size[0] * height / size[1])
    elif (width, height) != size and size[0] > size[1]:
        height = int(size[1] * width / size[0])
    return width, height


def middle_of(original: Size, sizes: tuple[Size, ...], input: Size, *, to_even: bool) -> Frame:
    """The photograph made each of `sizes`, then `input` (w, h) out of its middle, black where that is larger.

    to_even: the corner of the middle is rounded to the nearest pixel, halves to even ones, else down.
    """
    if sizes[-1] == input:
        return whole(original, sizes)

    def corner(has: int, wants: int) -> int:
        if wants > has:
            return -((wants - has) // 2)
        return round((has - wants) / 2) if to_even else (has - wants) // 2

    across, down = original[0] / sizes[-1][0], original[1] / sizes[-1][1]
    left, top = corner(sizes[-1][0], input[0]), corner(sizes[-1][1], input[1])
    box = left * across, top * down, (left + input[0]) * across, (top + input[1]) * down
    return Frame(original, box, input, sizes)


def whole(original: Size, sizes: tuple[Size, ...]) -> Frame:
    """The whole photograph, made each of `sizes` in turn."""
    return Frame(original, (0, 0, *original), sizes[-1], sizes[:-1])


def cut_first(original: Size, input: Size, share: float) -> Frame:
    """The middle, of whole pixels, `share` of the short side both ways, cut out and then made `input` (w, h)."""
    side = int(share * min(original))
    left, top = (original[0] - side) // 2, (original[1] - side) // 2
    return Frame(original, (left, top, left + side, top + side), input, alone=True)
