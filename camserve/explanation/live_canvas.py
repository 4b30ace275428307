"""An explanation as a widget for notebooks: what the page at / draws, drawn in the notebook."""

import base64
import math
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from camserve.catalogue.colormaps import COLORMAPS, SIGNED_COLORMAPS
from camserve.catalogue.methods import find_method
from camserve.catalogue.options import OverlayOptions
from camserve.catalogue.questions import Questions
from camserve.config.schema import Render
from camserve.errors import OptionError
from camserve.explanation.attribution import Attribution
from camserve.explanation.manifest import class_maps_of, facts_of
from camserve.images.arrays.pixel_arrays import image_of
from camserve.images.arrays.resampling import resample
from camserve.images.reading import Photo, encode

if TYPE_CHECKING:
    from camserve.notebook.widget import Widget as Widget

# The most pixels of the photograph and the most numbers of class maps. The file of the notebook contains them, and
# the browser must draw each change within one frame.
_PIXELS = 2**20
_NUMBERS = 2**18
STILL = 1024  # pixels: the longest side of the picture for viewers without widgets
# As a share of a map's peak: maps that differ by less count as equal. found.js has the same number.
_EQUAL = 1e-3


def widget_of(
    found: Attribution, photo: Photo, look: OverlayOptions, style: Render, still: Callable[[], bytes]
) -> "Widget":
    """Make the widget. still: makes a PNG for viewers without widgets.

    Raises OptionError if anywidget is not installed, or if contour and boxes have two thresholds.
    """
    if find_spec("anywidget") is None:
        raise OptionError("widgets need anywidget, which is not installed: pip install 'camserve[widget]'")
    threshold = _threshold(look, style)
    from camserve.notebook.widget import Widget

    maps, target = _maps(found), found.target
    own = target.index if target.has_score else None
    shown = maps.get("classes", () if own is None else (own,))
    facts = facts_of(found, photo, max(len(shown), 5), threshold, Questions())
    groups = {
        "For the class": list(dict.fromkeys((style.colormap, *COLORMAPS))),
        "For and against": list(dict.fromkeys((style.signed_colormap, *SIGNED_COLORMAPS))),
    }
    return Widget(
        content={
            "answer": {**facts, "outputs": {"maps": maps}},
            "difference": None if target.against is None else {"index": target.index, "against": target.against},
            "by": find_method(found.method).title,
            "colormaps": groups,
            "automatic": [style.colormap, style.signed_colormap],
        },
        photo=_photograph(photo),
        classes=shown,
        colormaps=[name for names in groups.values() for name in names],
        still=still,
        said=f"<camserve widget of {found.in_short} of {photo.name}>",
        class_index=own,
        alpha=style.alpha if look.alpha is None else look.alpha,
        colormap=look.colormap,
        signed=look.signed,
        grey=look.grey,
        smooth=style.smooth if look.smooth is None else look.smooth,
        scale=look.scale,
        contour=look.contour is not None,
        boxes=look.boxes is not None,
        threshold=threshold,
    )


def _threshold(look: OverlayOptions, style: Render) -> float:
    given = {share for share in (look.contour, look.boxes) if share is not None}
    if len(given) > 1:
        raise OptionError(
            f"contour {look.contour:g} and boxes {look.boxes:g} differ, and a widget has one threshold: give both the "
            "same value"
        )
    return given.pop() if given else style.threshold


def _maps(found: Attribution) -> dict[str, Any]:
    """The maps of all classes, as `outputs.maps` of an answer; or the `reason` why there is only one map."""
    about, npy = class_maps_of(found, _NUMBERS)
    if "reason" in about:
        return about
    if not _is_among(found, about["classes"]):
        return {"reason": f"{find_method(found.method).title} makes the map of each class separately"}
    return {**about, "b64": base64.b64encode(npy).decode()}


def _is_among(found: Attribution, classes: list[int]) -> bool:
    """Whether the explained map is a sum of these class maps, so that the browser can make other maps."""
    target, account = found.target, found.account
    is_known = target.is_linear and target.sign > 0 and (target.against is None or target.against in classes)
    is_whole = target.quantity != "contrast" or len(classes) == len(found.labels)
    if account is None or not (is_known and is_whole) or account.placement.grid != found.placement.grid:
        return False
    with np.errstate(invalid="ignore"):  # a map that overflows is not among them
        return bool(np.abs(account.of_target(target) - found.map).max() <= _EQUAL * np.abs(found.map).max())


def _photograph(photo: Photo) -> bytes:
    """The photograph as a PNG, made smaller if it has more than `_PIXELS`."""
    share = math.sqrt(_PIXELS / math.prod(photo.size))
    pixels = photo.in_full
    if share < 1:
        width, height = (max(1, round(side * share)) for side in photo.size)
        pixels = resample(pixels, (width, height), "bilinear")
    return encode(image_of(pixels), "png")
