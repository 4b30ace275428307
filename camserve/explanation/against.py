"""Why one class and not another: the photograph, both maps and their difference, side by side on one scale."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from camserve.catalogue.options import OverlayOptions
from camserve.explanation.common_scale import common_scale
from camserve.explanation.explanation import Explanation, paint
from camserve.geometry.laid import Laid
from camserve.images.arrays.resampling import resample
from camserve.images.reading import Photo
from camserve.render.painting import enlarged, enlargement
from camserve.render.scale import scale_of

SIDE = 360  # pixels: the longest side of each picture
PICTURES = 4


@dataclass(frozen=True)
class Against:
    """image: RGB, four pictures of one width side by side: the photograph, both maps, and their difference.

    end: the value of the last colour in all maps. The first colour is 0, and -end in the difference. unit: of the maps.
    """

    image: Image.Image
    end: float
    unit: str


def against(one: Explanation, other: Explanation, look: OverlayOptions) -> Against:
    """Compare two classes of one photograph, explained by one method.

    look: scale, signed, boxes and legend are ignored. Raises OptionError if the maps have no common scale.
    """
    apart = one.map - other.map
    end = max(common_scale([one, other]), scale_of(apart, one.unit, signed=True).end)
    photo = _small(one.photo)
    placement, tiles = one.placement.resized(photo.size), [photo]
    for grid_map, signed in ((one.map, False), (other.map, False), (apart, True)):
        laid = replace(one, map=grid_map, placement=placement)
        shown = Laid(placement, scale_of(grid_map, one.unit, signed=signed, end=end).share_of(grid_map))
        tiles.append(paint(photo, laid.heat_rows, replace(look, signed=signed), one.style, shown=shown).image)
    image = Image.new("RGB", (PICTURES * photo.width, photo.height))
    for place, tile in enumerate(tiles):
        image.paste(tile, (place * photo.width, 0))
    return Against(image, end, one.unit)


def _small(photo: Photo) -> Image.Image:
    """Return the photograph, RGB, with sides of at most SIDE; a small one is enlarged by a whole number."""
    size, longest = photo.size, max(photo.size)
    if (factor := enlargement(size)) > 1 or longest <= SIDE:
        return enlarged(photo.image, factor)
    width, height = (max(1, round(side * SIDE / longest)) for side in size)
    return Image.fromarray(np.ascontiguousarray(resample(photo.in_full, (width, height), "bilinear")))
