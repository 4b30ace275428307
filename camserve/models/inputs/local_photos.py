"""Reads images that are not uploads, with the limits for local files."""

from camserve.config.schema import Settings
from camserve.images.arrays.drafts import Smaller
from camserve.images.bands import Bands, read_bands
from camserve.images.reading import Photo, Source, read_photo


def read_local(image: Source, settings: Settings, bands: Bands | None = None, smaller: Smaller | None = None) -> Photo:
    """Read a photograph; with `bands`, from `Input.of_bands`, the bands of an image with other channels than three.

    smaller: see `camserve.explain.drafting`. Raises ImageError.
    """
    limits, icc = settings.limits, settings.images.to_srgb
    pixels, side, size = limits.max_local_pixels, limits.side, limits.max_local_bytes
    if bands is not None:
        return read_bands(image, bands, max_pixels=pixels, max_side=side, max_bytes=size, local=True)
    return read_photo(image, max_pixels=pixels, max_side=side, max_bytes=size, local=True, icc=icc, smaller=smaller)
