"""The files of one explanation in a batch, and their names."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from camserve.batch.batch_options import Options
from camserve.catalogue.run_files import AGAINST, KINDS, THUMBNAILS
from camserve.catalogue.targets import EXPECTED, PREDICTED
from camserve.errors import OptionError
from camserve.explanation.against import against
from camserve.explanation.explanation import Explanation
from camserve.images.arrays.resampling import resample
from camserve.images.reading import OUTPUTS, encode
from camserve.render.canvas import Canvas
from camserve.render.npy import npy_bytes
from camserve.render.painting import ROOMY

THUMBNAIL = 360  # pixels of the longest side: two fit side by side on a phone


class Made(NamedTuple):
    """An explanation, the method that the user named, and the name of its target.

    seconds: the time of the method for all targets together.
    """

    method: str
    variant: str
    explanation: Explanation
    seconds: float


def files_of(made: Made, name: str, options: Options, *, folder: bool) -> dict[str, tuple[str, bytes]]:
    """Return {kind: (path below OUT, bytes)} for each kind of file; an overlay also gives a thumbnail.

    The image's whole name stays in front of the ending, so the files of cat.jpg and cat.png never have the same name.
    folder: whether an image has several explanations, so that each needs its own folder.
    """
    whole = f"{below(made.method, made.variant)}{name}" if folder else name
    found = {}
    for kind in (kind for kind in KINDS if kind in options.outputs):
        path = f"{KINDS[kind][0]}/{whole}{ending_of(kind, options)}"
        if kind == "overlay":
            overlay, style = made.explanation.painted(options.look), made.explanation.style
            file = partial(encode, quality=style.quality, subsampling=style.subsampling)
            found[kind] = path, file(overlay.image, options.image_format)
            roomy = max(overlay.image.size) >= ROOMY
            shown = overlay if roomy else made.explanation.painted(options.look, large=True)
            found["thumbnail"] = f"{THUMBNAILS}/{whole}.jpg", file(thumbnail(shown), "jpeg")
        else:
            found[kind] = path, _bytes(kind, made.explanation, options.threshold)
    return found


class Mistake(NamedTuple):
    """A picture that compares the predicted with the expected class.

    place: the index of the predicted class's explanation in `made`. path: the file's path below OUT. content: its
    bytes. facts: further facts for the row.
    """

    place: int
    path: str
    content: bytes
    facts: dict[str, Any]


def mistake_of(made: Sequence[Made], name: str, options: Options) -> Mistake | None:
    """For a wrong answer, the picture of the predicted against the expected class, by the first method.

    None for a right answer, without overlays, and if the maps have no common scale, for example maps of several sizes.
    """
    method = options.methods[0]
    places = {one.variant: place for place, one in enumerate(made) if one.method == method}
    if "overlay" not in options.outputs or not {PREDICTED, EXPECTED} <= places.keys():
        return None
    predicted, expected = (made[places[variant]].explanation for variant in (PREDICTED, EXPECTED))
    try:
        found = against(predicted, expected, options.look)
    except OptionError:
        return None
    style, path = predicted.style, f"{AGAINST}/{below(method, PREDICTED)}{name}.jpg"
    content = encode(found.image, "jpeg", quality=style.quality, subsampling=style.subsampling)
    return Mistake(places[PREDICTED], path, content, {"scale": found.end, "unit": found.unit})


def below(method: str, variant: str) -> str:
    """The folder below the folder of a kind, used if images have several explanations."""
    return f"{method}.{variant}/"


def ending_of(kind: str, options: Options) -> str:
    """The file name ending of a kind."""
    return KINDS[kind][1] or OUTPUTS[options.image_format].ending


def thumbnail(overlay: Canvas) -> Image.Image:
    """A small copy of the overlay for the page; never larger than the overlay."""
    image = overlay.image
    share = min(1, THUMBNAIL / max(image.size))
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    if size == image.size:
        return image
    pixels = np.asarray(image) if overlay.memory is None else overlay.memory
    return Image.fromarray(resample(pixels, size, "bilinear"))


def _bytes(kind: str, explanation: Explanation, threshold: float) -> bytes:
    if kind == "heatmap":
        return encode(explanation.heatmap_image(), "png")
    if kind == "mask":
        return encode(explanation.mask_image(threshold), "png")
    return b"".join(explanation.heatmap_npy()) if kind == "npy" else npy_bytes(explanation.map)
