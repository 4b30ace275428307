"""Colour maps by name."""

import base64
from functools import lru_cache

from camserve.errors import UnknownName

# All but the last two have even lightness and are safe for colour-blind readers; people ask for the last two by name.
COLORMAPS = ("inferno", "plasma", "magma", "viridis", "cividis", "batlow", "turbo", "jet")

# The low end is evidence against the class, the high end evidence for it. The first three are dark in the middle, which
# is transparent anyway: both ends are visible on any photograph. The others are light in the middle: pale on bright
# ones.
SIGNED_COLORMAPS = ("icefire", "managua_r", "berlin", "vik", "balance", "RdBu_r")

_LABELS = {"RdBu": "Blue to red"}


def colormap_label(colormap: str) -> str:
    """The label of a colour map on a page, without _r: its direction is visible in its colours."""
    name = colormap.removesuffix("_r")
    return _LABELS.get(name, name[:1].upper() + name[1:])


def colormap_names() -> list[str]:
    """The names of all colour maps: COLORMAPS first, then the rest of cmap's catalogue in alphabetical order."""
    from cmap import Colormap  # imported here because it imports numpy, which `--help` does not need

    return [*COLORMAPS, *sorted(Colormap.catalog().short_keys() - set(COLORMAPS))]


@lru_cache(maxsize=64)
def colours(colormap: str) -> bytes:
    """The 256 RGB triples of a colour map, from the coldest colour to the hottest.

    colormap: a name of cmap's catalogue; "_r" at its end reverses the colours. Raises UnknownName.
    """
    import numpy as np
    from cmap import Colormap

    try:
        full_name = Colormap.catalog().resolve(colormap.removesuffix("_r"))
    except KeyError:
        raise UnknownName("colour map", colormap, colormap_names()) from None
    table = np.rint(255 * Colormap(full_name)(np.linspace(0, 1, 256)))[:, :3].astype(np.uint8)
    return bytes((table[::-1] if colormap.endswith("_r") else table).tobytes())


def palette(colormap: str) -> str:
    """The 256 colours for a page: three bytes each, in base64. Raises UnknownName."""
    return base64.b64encode(colours(colormap)).decode()
