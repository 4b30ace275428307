"""One scale for the pictures of several classes, images or checkpoints, so that they can be held side by side."""

from collections.abc import Iterable

from camserve.errors import OptionError
from camserve.explanation.attribution import Attribution
from camserve.render.scale import LOGITS, check_raw, scale_of


def common_scale(explanations: Iterable[Attribution], *, signed: bool = False) -> float:
    """The end of a scale that all these pictures share: `overlay(scale=...)`. 1 where none has any heat.

    Raises OptionError where their maps are in different units, so that equal colours would not be equal evidence.
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
