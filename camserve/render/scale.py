"""What the ends of the colours of one picture stand for.

By itself a picture runs from 0 to its own map's maximum: it says where, not how strong. With one end for several
pictures, equal colours are equal numbers, in the unit of the maps.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from camserve.catalogue.option_metadata import checked
from camserve.catalogue.options import OverlayOptions
from camserve.errors import OptionError

Float32 = npt.NDArray[np.float32]

_FLOAT = np.finfo(np.float32)
# Of a map's peak: an end that is less draws the same picture, since no float32 next to the peak is that small, and the
# shares stay numbers that can be interpolated and added up.
_LEAST_END = 1e-30

# Of a map: "logits" where the mean over its cells plus the bias is the logit; "own" where a method has a unit of its
# own; "relative" where several maps were each divided by their maximum, so that how strong any was is gone; "output" as
# "logits", of a network whose answers are numbers in a unit that only its user knows.
LOGITS, OWN, RELATIVE, OUTPUT = "logits", "own", "relative", "output"


@dataclass(frozen=True)
class Scale:
    """end: the value of the last colour, 0 where there is no heat. signed: whether the first is -end, else it is 0."""

    end: float
    signed: bool

    def share_of(self, grid_map: Float32) -> Float32:
        """A raw map over the end: -1..1 or, unsigned, 0..1, and beyond where the scale ends before the map does."""
        shown = shown_part(grid_map, signed=self.signed)
        if self.end <= 0:
            return np.zeros_like(shown)
        least = max(float(_FLOAT.tiny), _LEAST_END * float(np.abs(shown).max()))
        share: Float32 = shown / np.float32(min(max(self.end, least), float(_FLOAT.max)))
        return share

    def words(self, grid_map: Float32, unit: str) -> tuple[str, str, str]:
        """What stands below the colour bar: its low end, its middle, its high end."""
        shown, of = shown_part(grid_map, signed=self.signed), " logits" if unit == LOGITS else ""
        high = f"{'>= ' if float(shown.max()) > self.end else ''}{self.end:.3g}{of}"
        if not self.signed:
            return "0", "", high
        return f"{'<= ' if float(shown.min()) < -self.end else ''}{-self.end:.3g}", "0", high


def shown_part(grid_map: Float32, *, signed: bool) -> Float32:
    """What a picture shows of a raw map: what is finite of it and, unless signed, not against the class."""
    finite = np.nan_to_num(grid_map, nan=0, posinf=0, neginf=0)
    return finite if signed else np.maximum(finite, 0)


def scale_of(grid_map: Float32, unit: str, *, signed: bool, end: float | None = None) -> Scale:
    """The scale of one picture. unit: of the map. end: default its own maximum, signed the largest of either sign.

    Raises OptionError where the end is not a positive number, and for a map that is relative: it has no end but 1,
    and nothing below 0.
    """
    end = checked(OverlayOptions, "scale", end)
    if signed or end is not None:
        check_raw(unit)
    own = float(np.abs(shown_part(grid_map, signed=signed)).max())
    return Scale(own if end is None else end, signed)


def check_raw(unit: str) -> None:
    """Raises OptionError for the unit of a map that several were combined in."""
    if unit == RELATIVE:
        raise OptionError(
            "signed and scale need one raw map; this one combines several sizes or layers, each over its own maximum, "
            "and keeps what speaks for the class only. Explain without sharp, and with one layer"
        )
