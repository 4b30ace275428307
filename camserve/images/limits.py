"""The largest allowed size of a picture, and the errors for larger ones; checked before decoding."""

from typing import NamedTuple

from camserve.errors import ImageError, ImageTooLarge


class Limits(NamedTuple):
    """The largest number of pixels, and the longest side.

    local: whether the limits are those for local files and not those for uploads; errors name the setting.
    """

    pixels: int
    side: int
    local: bool = False

    @property
    def setting(self) -> str:
        """The name of the setting that limits the pixels."""
        return "limits.local_megapixels" if self.local else "limits.megapixels"


def check_size(size: tuple[int, int], what: str, limits: Limits) -> None:
    """Raises ImageTooLarge for a size (W, H) above the limits, ImageError for a size without pixels."""
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
        raise ImageError(f"{what} is {width} x {height} pixels; allowed are 1 x 1 or more")
