"""What a request costs, judged before any of it is done: whether it is costly, or more than is allowed.

Costly requests have a lane of their own (admission.py), so that whoever asks for little never waits for them.
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

# More than any of these is costly. Pixels of all images of a request together; pixels of the network's input, as
# multiples of what it was trained at; images, classes and runs of the network; prompts that are read.
_PIXELS, _INPUT, _IMAGES, _CLASSES, _RUNS, _PROMPTS = 16_000_000, 8, 8, 8, 8, 16
# A pixel with its heat takes as long as so many without.
_HEATMAP = 3
# Pictures that are drawn take as long as this many pixels more.
_PICTURE = 50_000
# Pixels that are drawn for one request, as multiples of those that an upload may have.
_DRAWN = 4
_OUTLINES = "polygons"


@dataclass(frozen=True)
class Demand:
    """What a request is about. pixels: of all its images together, as their headers say. classes: of each image.

    measuring: whether methods are timed for it. heatmap: whether that is wanted, four bytes a pixel.
    known: whether the network need not run for it.
    """

    options: "Options"
    pixels: int
    images: int = 1
    classes: int = 1
    measuring: bool = False
    heatmap: bool = False
    known: bool = False


def demand_of(images: Sequence[Source], options: "Options", classes: int = 1, *, heatmap: bool = False) -> Demand:
    """The same from the images themselves, none of which is decoded."""
    count, heatmap = len(images), heatmap or "heatmap" in options.outputs
    pixels = sum(map(announced_pixels, images)) if count <= _IMAGES else 0  # costly, whatever they are
    return Demand(options, pixels, count, classes, heatmap=heatmap)


def is_costly(model: "Model", request: Demand) -> bool:
    """Whether a request takes much longer than one pass of the network over a photograph."""
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
    """Raises TooMuch where more is to be drawn than is done for one request. allowed: megapixels of an upload."""
    options = request.options
    pictures = [*options.outputs, *([_OUTLINES] if options.polygons else [])] or ["overlay"]
    count, most = request.classes * len(pictures), _DRAWN * allowed
    enlarged = (2 * (options.min_side or 0)) ** 2  # a side is less than twice what is asked for
    drawn = count * (request.pixels + max(_PICTURE, enlarged) * request.images) / 1e6
    if drawn > most:
        raise TooMuch(
            f"{request.classes} times {', '.join(pictures)} of {request.pixels / 1e6:.2g} megapixels take as long as "
            f"drawing {drawn:.0f} megapixels; allowed are {most:g} ({_DRAWN} times limits.megapixels). Ask for fewer "
            "classes or outputs, or send a smaller image."
        )


def runs_often(model: "Model", how: "ExplainOptions", many: int) -> bool:
    """Whether the method runs the network so many times, or once for each of something, as the registry says."""
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
    except CamserveError:  # said when its turn comes
        return False
    return width * height > _INPUT * trained[0] * trained[1]
