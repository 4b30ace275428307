"""The most pixels that a picture may have, and the errors of more; checked before anything is unpacked."""

from typing import NamedTuple

from camserve.errors import ImageError, ImageTooLarge


class Limits(NamedTuple):
    """The most pixels, and the longest side.

    local: whether they are those of one's own files rather than of uploads, for the name of the setting in an error.
    """

    pixels: int
    side: int
    local: bool = False

    @property
    def setting(self) -> str:
        """The setting that bounds the pixels."""
        return "limits.local_megapixels" if self.local else "limits.megapixels"


def check_size(size: tuple[int, int], what: str, limits: Limits) -> None:
    """Raises ImageTooLarge for more than the limits, ImageError for nothing at all."""
    width, height = size
    if width * height > limits.pixels:
        raise ImageTooLarge(
            f"{what} is {width} x {height} = {width * height / 1e6:.4g} megapixels; allowed are "
            f"{limits.pixels / 1e6:.4g} ({limits.setting}). Try a smaller copy."
        )
    if max(size) > limits.side:
        raise ImageTooLarge(
            f"{what} is {width} x {height}; allowed are {limits.side} pixels a side (limits.side). "
            "Try a smaller copy or a part of it."
        )
    if width <= 0 or height <= 0:
        raise ImageError(f"{what} is {width} x {height}; allowed is 1 x 1 and more")
