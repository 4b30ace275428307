"""Which part of a photograph becomes the input of a network, and at which size."""

from typing import Protocol

from camserve.config.schema import Explain
from camserve.errors import OptionError, shown
from camserve.geometry.frame import Frame, check_input_size, fit, native, squeezed
from camserve.models.card_input import Input

# Most digits of a short side; numbers of more than 308 digits do not fit into a float.
_DIGITS = 6


class Sizes(Protocol):
    """The input sizes that a network takes: as in `camserve.graph.network.Network`."""

    @property
    def takes_any_size(self) -> bool:
        """Whether inputs may have another size and shape than the training size."""
        ...

    @property
    def multiple(self) -> int:
        """The sides of inputs must be multiples of it, pixels."""
        ...

    is_extended: bool


def frame_of(own: Input, limits: Explain, sizes: Sizes | None, original: tuple[int, int], size: str | int) -> Frame:
    """How a photograph of `original` (W, H) becomes the input. size: fit, crop, native or a short side.

    sizes: may be None for the crop. Raises OptionError for an unknown size, or one that is too large.
    """
    if size == "crop":
        return check_input_size(own.evaluation(original), limits.max_input_megapixels)
    assert sizes is not None  # every network takes the crop; other sizes depend on the network
    if not sizes.takes_any_size:
        return _at_own_size(original, own.sides, size)
    if size == "native":
        return check_input_size(native(original), limits.max_input_megapixels)
    short_side = own.fit_side if size == "fit" else _short_side(size)
    made = fit(original, short_side, max_aspect=limits.max_aspect, multiple=sizes.multiple)
    while size == "fit" and sizes.is_extended and _is_smaller(made.input, own.sides):
        short_side += 1  # such a network slides windows that need not be square over the input
        made = fit(original, short_side, max_aspect=limits.max_aspect, multiple=sizes.multiple)
    return check_input_size(made, limits.max_input_megapixels)


def _at_own_size(original: tuple[int, int], own: tuple[int, int], size: str | int) -> Frame:
    """The whole photograph, resized to the only size that the network takes, (w, h). Raises OptionError for others."""
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
    """`size` as a number of pixels. Strings of digits are allowed, since flags and queries are strings."""
    number = int(size) if isinstance(size, str) and size.isdecimal() and len(size) <= _DIGITS else size
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number < 10**_DIGITS:
        raise OptionError(
            f"size {shown(size)} is not a size; allowed are fit, crop, native, or a short side in pixels such as 320"
        )
    return number
