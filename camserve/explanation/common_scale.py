"""One scale for the pictures of several classes, images or checkpoints, so that their colours can be compared."""

from collections.abc import Iterable

from camserve.errors import OptionError
from camserve.explanation.attribution import Attribution
from camserve.render.scale import LOGITS, check_raw, scale_of


def common_scale(explanations: Iterable[Attribution], *, signed: bool = False) -> float:
    """Return the end of a scale that all pictures can share, for `overlay(scale=...)`. 1 if no map has heat.

    Raises OptionError if the maps have different units: equal colours would not mean equal evidence.
    """
    ends, units = [0.0], set()
    for one in explanations:
        check_raw(one.unit)
        ends.append(scale_of(one.map, one.unit, signed=signed).end)
        units.add("logits" if one.unit == LOGITS else f"{one.target.quantity} by {one.method} at {one.layer}")
    if len(units) > 1:
        raise OptionError(
            f"the maps are in different units: {', '.join(sorted(units))}. Only maps in logits, or of one method at "
            "one layer, can share a scale"
        )
    return max(ends) or 1.0
