"""The pictures for the checks: the user's, those of the known answers in the model's card, or made ones."""

from collections.abc import Iterable

import numpy as np
from PIL import Image

from camserve.errors import ModelError, OptionError
from camserve.explain.pipeline import open_photo
from camserve.images.reading import Photo, Source
from camserve.models.card_files import resolve_file
from camserve.models.card_input import Input
from camserve.models.classifier import Classifier

# Number of pictures if the user gives none. It is odd because some checks take the median over pictures.
COUNT = 3
# Coarse squares along a side of a made picture, and the strength of the pixel noise relative to them.
_SQUARES, _NOISE = 6, 0.3


def pictures_for(model: Classifier, images: Iterable[Source] | None) -> tuple[tuple[Photo, ...], bool]:
    """Return the pictures, and whether they are photographs.

    images: default: the photographs of the card's known answers that exist; if there are none, made pictures.
    Raises OptionError for an empty list, ImageError.
    """
    if images is not None:
        given = tuple(open_photo(model, image) for image in images)
        if not given:
            raise OptionError("images: the list is empty; give one or more, or leave it out")
        return given, True
    known = _known(model)[:COUNT]
    if known:
        return tuple(open_photo(model, path) for path in known), True
    return tuple(made(model.card.input, seed) for seed in range(COUNT)), False


def _known(model: Classifier) -> list[Source]:
    found: list[Source] = []
    for known in model.card.known if model.home is not None else ():
        try:
            found.append(resolve_file(known.image, model.home, model.settings.models.shared, key="known.image"))  # type: ignore[arg-type]
        except ModelError:
            continue
    return found


def made(spec: Input, seed: int) -> Photo:
    """A picture of coloured fields and noise, at the network's training size; each seed gives another picture."""
    random, (width, height) = np.random.default_rng(seed), spec.sides
    planes = []
    # Colours are 0..255. For other bands only their mean and std in the card are known.
    scales = zip(spec.mean, spec.std, strict=True) if spec.bands else [(128.0, 64.0)] * spec.count
    for mean, std in scales:
        coarse = Image.fromarray(random.normal(size=(_SQUARES, _SQUARES)).astype(np.float32))
        fine = _NOISE * random.normal(size=(height, width))
        fields = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        planes.append(mean + std * (fields + fine))
    values = np.stack(planes, -1)
    colours = values[..., :3] if values.shape[2] >= 3 else np.repeat(values[..., :1], 3, -1)
    pixels = np.ascontiguousarray(np.clip(colours, 0, 255).astype(np.uint8))
    return Photo(pixels, f"made {seed}", "array", bands=_bands(values, spec))


def _bands(values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", spec: Input) -> "np.ndarray | None":
    if spec.bands is None:
        return None
    bands = np.zeros((*values.shape[:2], spec.samples), np.float32)
    for plane, band in enumerate(spec.bands):
        bands[..., band] = values[..., plane]
    return bands
