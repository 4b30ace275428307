"""Which part of a photograph becomes the input of a network, and at which size."""

from typing import Protocol

from camserve.config.schema import Explain
from camserve.errors import OptionError, shown
from camserve.geometry.frame import Frame, check_input_size, fit, native, squeezed
from camserve.models.card_input import Input

# Of a short side: more are no size of anything, and from 309 on no float.
_DIGITS = 6


class Sizes(Protocol):
    """What inputs a network takes: as of `camserve.graph.network.Network`."""

    @property
    def takes_any_size(self) -> bool:
        """Whether inputs may have another size and shape than the one trained at."""
        ...

    @property
    def multiple(self) -> int:
        """What the sides of inputs are multiples of, pixels."""
        ...

    is_extended: bool


def frame_of(own: Input, limits: Explain, sizes: Sizes | None, original: tuple[int, int], size: str | int) -> Frame:
    """How a photograph of `original` (W, H) becomes the input. size: fit, crop, native or a short side.

    sizes: None where the crop is asked for. Raises OptionError for a size that there is not, or that is too much.
    """
    if size == "crop":
        return check_input_size(own.evaluation(original), limits.max_input_megapixels)
    assert sizes is not None  # but for the crop, which all take
    if not sizes.takes_any_size:
        return _at_own_size(original, own.sides, size)
    if size == "native":
        return check_input_size(native(original), limits.max_input_megapixels)
    short_side = own.fit_side if size == "fit" else _short_side(size)
    made = fit(original, short_side, max_aspect=limits.max_aspect, multiple=sizes.multiple)
    while size == "fit" and sizes.is_extended and _is_smaller(made.input, own.sides):
        short_side += 1  # its windows are not square, and slide over the input
        made = fit(original, short_side, max_aspect=limits.max_aspect, multiple=sizes.multiple)
    return check_input_size(made, limits.max_input_megapixels)


def _at_own_size(original: tuple[int, int], own: tuple[int, int], size: str | int) -> Frame:
    """The whole photograph as the only input a fixed network takes, (w, h). Raises OptionError for another size."""
    if size in ("fit", min(own), str(min(own))) or (size == "native" and original == own):
        return squeezed(original, own)
    what = "a square" if own[0] == own[1] else "that"
    raise OptionError(
        f"size {shown(size)}: this network takes {own[0]} x {own[1]} pixels only; use fit (the whole image, squeezed "
        f"to {what}) or crop"
    )


def _is_smaller(size: tuple[int, int], than: tuple[int, int]) -> bool:
    return size[0] < than[0] or size[1] < than[1]


def _short_side(size: str | int) -> int:
    """`size` as a number of pixels; strings of digits count, since flags and queries are strings."""
    number = int(size) if isinstance(size, str) and size.isdecimal() and len(size) <= _DIGITS else size
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number < 10**_DIGITS:
        raise OptionError(f"size {shown(size)} is none of: fit, crop, native, or a short side in pixels such as 320")
    return number
