"""When a map means nothing, or less than it seems to, say so in words."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from camserve.architectures import is_untrained
from camserve.cards import Card
from camserve.frame import Frame
from camserve.layers import COMPLETENESS_TOLERANCE


def doubt(card: Card) -> Iterator[str]:
    """Warnings that hold for every explanation of a model."""
    if card.weights is None and is_untrained(card.architecture):
        yield (
            f"no weights were given for '{card.architecture}', so the network is untrained and the picture means "
            "nothing: load it with weights=FILE"
        )


def diagnose(
    grid_map: npt.NDArray[np.float32],
    frame: Frame,
    max_aspect: float,
    completeness: float | None,
    logit: float,
) -> Iterator[str]:
    """Warnings about one explanation, most serious first.

    grid_map: (h, w), raw. completeness: |mean(CAM) + bias - logit|, None where the head has no such identity.
    """
    if not np.isfinite(grid_map).all():
        yield "the map has values that are not finite: the model overflows here, and the picture means nothing"
    elif np.ptp(grid_map) == 0:
        yield "the map is constant: no place matters more than another, and the picture means nothing"
    elif grid_map.max() <= 0:
        yield "all evidence is against this class: no place speaks for it, so no heat is shown"
    if completeness is not None and completeness > COMPLETENESS_TOLERANCE * max(1.0, abs(logit)):
        yield f"map and logit disagree by {completeness:.2g}: the map does not account for what the model said"
    width, height = frame.original
    across, down = frame.scale
    if max(width, height) > max_aspect * min(width, height) and frame.sees_all and across != down:
        yield f"the image is longer than {max_aspect:g} : 1 and was squeezed to that before the model saw it"
    elif max(across, down) > 1.1 * min(across, down):
        yield "the model takes squares only, so the image was squeezed to one before the model saw it"
    if not frame.sees_all:
        left, top, right, bottom = frame.box
        share = (right - left) * (bottom - top) / (width * height)
        yield f"the model saw {share:.0%} of the image; the rest is marked as unseen"
