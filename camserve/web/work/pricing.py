"""The cost of a request, estimated before any work: whether it is costly, or asks for more than is allowed.

Costly requests have their own lane (admission.py), so that cheap requests never wait for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from camserve.catalogue.method import Each
from camserve.catalogue.methods import METHODS
from camserve.errors import CamserveError, TooMuch
from camserve.images.reading import Source, announced_pixels

if TYPE_CHECKING:
    from camserve.catalogue.options import ExplainOptions
    from camserve.model import Model
    from camserve.web.request_options import Options

# A request that exceeds one of these is costly: pixels of all its images; pixels of the network's input, as a multiple
# of the training size; images; classes; runs of the network; prompts.
_PIXELS, _INPUT, _IMAGES, _CLASSES, _RUNS, _PROMPTS = 16_000_000, 8, 8, 8, 8, 16
# A pixel with a heatmap costs as much as this many pixels without.
_HEATMAP = 3
# Drawing a picture costs as much as this many additional pixels.
_PICTURE = 50_000
# Most pixels to draw for one request, as a multiple of the limit of an upload.
_DRAWN = 4
_OUTLINES = "polygons"


@dataclass(frozen=True)
class Demand:
    """The size of a request. pixels: of all its images, according to their headers. classes: per image.

    measuring: whether methods are timed. heatmap: whether it asks for a heatmap of four bytes per pixel. known: whether
    the network does not need to run.
    """

    options: "Options"
    pixels: int
    images: int = 1
    classes: int = 1
    measuring: bool = False
    heatmap: bool = False
    known: bool = False


def demand_of(images: Sequence[Source], options: "Options", classes: int = 1, *, heatmap: bool = False) -> Demand:
    """The Demand of these images. No image is decoded."""
    count, heatmap = len(images), heatmap or "heatmap" in options.outputs
    pixels = (
        sum(map(announced_pixels, images)) if count <= _IMAGES else 0
    )  # so many images are costly, whatever their size
    return Demand(options, pixels, count, classes, heatmap=heatmap)


def is_costly(model: "Model", request: Demand) -> bool:
    """Whether a request takes much longer than one forward pass over a photograph."""
    pixels = request.pixels * (_HEATMAP if request.heatmap else 1)
    if request.measuring or pixels > _PIXELS or request.images > _IMAGES or request.classes > _CLASSES:
        return True
    if request.known:
        return False
    how = request.options.question()
    sharp = model.settings.explain.sharp if how.sharp is None else how.sharp
    if sharp or how.trust or how.output_stride is not None or not all(model.has_ready(layer) for layer in how.layers):
        return True
    if how.labels is not None and model.words is not None and len(how.labels) * len(model.words.templates) > _PROMPTS:
        return True
    return runs_often(model, how, _RUNS) or _is_wide(model, how, request.pixels)


def check_drawn(request: Demand, allowed: float) -> None:
    """Raise TooMuch if a request asks for too many drawn pixels. allowed: megapixels of an upload."""
    options = request.options
    pictures = [*options.outputs, *([_OUTLINES] if options.polygons else [])] or ["overlay"]
    count, most = request.classes * len(pictures), _DRAWN * allowed
    enlarged = (2 * (options.min_side or 0)) ** 2  # an enlarged side is less than twice the requested side
    drawn = count * (request.pixels + max(_PICTURE, enlarged) * request.images) / 1e6
    if drawn > most:
        raise TooMuch(
            f"{request.classes} times {', '.join(pictures)} of {request.pixels / 1e6:.2g} megapixels take as long as "
            f"drawing {drawn:.0f} megapixels; allowed are {most:g} ({_DRAWN} times limits.megapixels). Ask for fewer "
            "classes or outputs, or send a smaller image."
        )


def runs_often(model: "Model", how: "ExplainOptions", many: int) -> bool:
    """Whether, by the registry, the method runs the network `many` times or more, or once per channel or cell."""
    method = METHODS.get(how.method or model.settings.explain.method)
    if method is None or (cost := method.cost).of is None:
        return False
    own_layer = how.layer is None and how.output_stride is None
    if own_layer and cost.free_under is model.layer().head.kind:
        return False
    return cost.each not in (None, Each.STAGE) or (cost.count or 0) >= many


def _is_wide(model: "Model", how: "ExplainOptions", pixels: int) -> bool:
    trained = model.card.input.sides
    try:
        side = max(1, round(pixels**0.5))
        width, height = model.frame((side, side), how.size).input
    except CamserveError:  # reported when the request runs
        return False
    return width * height > _INPUT * trained[0] * trained[1]
