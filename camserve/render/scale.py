"""Which values the first and the last colour of a picture stand for.

By default the colours of a picture run from 0 to its own map's maximum: they say where, not how strong. If several
pictures share one end, equal colours are equal numbers in the unit of the maps.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from camserve.catalogue.option_metadata import checked
from camserve.catalogue.options import OverlayOptions
from camserve.errors import OptionError

Float32 = npt.NDArray[np.float32]

_FLOAT = np.finfo(np.float32)
# The smallest end, as a share of the map's peak. A smaller end would draw the same picture, because float32 cannot hold
# such small values beside the peak; with this limit the shares stay finite.
_LEAST_END = 1e-30

# The unit of a map: "logits" if the mean over its cells plus the bias is the logit; "own" if a method has its own unit;
# "relative" if several maps were each divided by their maximum, so that their strength is lost; "output" like "logits",
# for a network whose answers are numbers in a unit that only its user knows.
LOGITS, OWN, RELATIVE, OUTPUT = "logits", "own", "relative", "output"


@dataclass(frozen=True)
class Scale:
    """end: the value of the last colour, 0 without heat. signed: whether the first colour is -end; else it is 0."""

    end: float
    signed: bool

    def share_of(self, grid_map: Float32) -> Float32:
        """Divide a raw map by the end: -1..1 or, unsigned, 0..1; beyond 1 where the map is larger than the end."""
        shown = shown_part(grid_map, signed=self.signed)
        if self.end <= 0:
            return np.zeros_like(shown)
        least = max(float(_FLOAT.tiny), _LEAST_END * float(np.abs(shown).max()))
        share: Float32 = shown / np.float32(min(max(self.end, least), float(_FLOAT.max)))
        return share

    def words(self, grid_map: Float32, unit: str) -> tuple[str, str, str]:
        """Return the texts below the colour bar: its low end, its middle, its high end."""
        shown, of = shown_part(grid_map, signed=self.signed), " logits" if unit == LOGITS else ""
        high = f"{'>= ' if float(shown.max()) > self.end else ''}{self.end:.3g}{of}"
        if not self.signed:
            return "0", "", high
        return f"{'<= ' if float(shown.min()) < -self.end else ''}{-self.end:.3g}", "0", high


def shown_part(grid_map: Float32, *, signed: bool) -> Float32:
    """Return the part of a raw map that a picture shows: finite values and, unless signed, no negative values."""
    finite = np.nan_to_num(grid_map, nan=0, posinf=0, neginf=0)
    return finite if signed else np.maximum(finite, 0)


def scale_of(grid_map: Float32, unit: str, *, signed: bool, end: float | None = None) -> Scale:
    """Return the scale of one picture. unit: of the map. end: default the map's maximum; signed, its largest |value|.

    Raises OptionError if the end is not a positive number, and for a relative map: its end is always 1, and it has no
    negative values.
    """
    end = checked(OverlayOptions, "scale", end)
    if signed or end is not None:
        check_raw(unit)
    own = float(np.abs(shown_part(grid_map, signed=signed)).max())
    return Scale(own if end is None else end, signed)


def check_raw(unit: str) -> None:
    """Raise OptionError for the unit of a map that combines several maps."""
    if unit == RELATIVE:
        raise OptionError(
            "signed and scale need one raw map; this map combines several sizes or layers, each divided by its own "
            "maximum, and keeps only what speaks for the class. Explain without sharp, and with one layer"
        )
