"""Colour maps by name."""

import base64
from functools import lru_cache

from camserve.errors import UnknownName

# Even in lightness and safe for colour-blind readers, but for the last two, which people ask for by name.
COLORMAPS = ("inferno", "plasma", "magma", "viridis", "cividis", "batlow", "turbo", "jet")

# From against to for. Dark in the middle, where they are clear anyway, the first three show at either end on any
# photograph; light in the middle, the others pale on bright ones.
SIGNED_COLORMAPS = ("icefire", "managua_r", "berlin", "vik", "balance", "RdBu_r")

_LABELS = {"RdBu": "Blue to red"}


def colormap_label(colormap: str) -> str:
    """What a page calls a colour map: which way round it is says nothing to who looks at its colours."""
    name = colormap.removesuffix("_r")
    return _LABELS.get(name, name[:1].upper() + name[1:])


def colormap_names() -> list[str]:
    """Every colour map there is: COLORMAPS first, then the rest of cmap's catalogue by name."""
    from cmap import Colormap  # with numpy, which `--help` does without

    return [*COLORMAPS, *sorted(Colormap.catalog().short_keys() - set(COLORMAPS))]


@lru_cache(maxsize=64)
def colours(colormap: str) -> bytes:
    """The 256 RGB triples of a colour map, coldest first.

    colormap: a name of cmap's catalogue; with "_r" at its end, turned round. Raises UnknownName.
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
