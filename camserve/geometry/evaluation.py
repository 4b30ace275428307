"""How other libraries make a network's input: they resize the whole photograph and cut out its middle.

A size or corner that differs by one pixel changes logits by more than rounding does. So each library's own arithmetic
is repeated here.
"""

import math

from camserve.geometry.frame import Frame

Size = tuple[int, int]


def in_proportion(original: Size, short_side: int, *, nearest: bool = False, multiple: int = 1) -> Size:
    """(w, h) with this short side. nearest: round the long side, else truncate it; both round up to a multiple."""
    short = min(original)

    def side(n: int) -> int:
        pixels = round(n * (short_side / short)) if nearest else int(short_side * n / short)
        return math.ceil(pixels / multiple) * multiple

    return side(original[0]), side(original[1])


def within(size: Size, bounds: Size) -> Size:
    """`size` reduced to fit into `bounds` (w, h). Its longer side determines the other."""
    width, height = min(size[0], bounds[0]), min(size[1], bounds[1])
    if (width, height) != size and size[1] > size[0]:
        width = int(size[0] * height / size[1])
    elif (width, height) != size and size[0] > size[1]:
        height = int(size[1] * width / size[0])
    return width, height


def middle_of(original: Size, sizes: tuple[Size, ...], input: Size, *, to_even: bool) -> Frame:
    """The photograph resized to each of `sizes` in turn, then `input` (w, h) cut out of its middle.

    Where `input` is larger than the photograph, the border is black. to_even: the corner is rounded to the nearest
    pixel, halves to even numbers; else it is rounded down.
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
    """The whole photograph, resized to each of `sizes` in turn."""
    return Frame(original, (0, 0, *original), sizes[-1], sizes[:-1])


def cut_first(original: Size, input: Size, share: float) -> Frame:
    """A square of whole pixels from the middle, `share` of the short side, cut out and then resized to `input`."""
    side = int(share * min(original))
    left, top = (original[0] - side) // 2, (original[1] - side) // 2
    return Frame(original, (left, top, left + side, top + side), input, alone=True)
