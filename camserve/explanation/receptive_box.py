"""Which pixels of the photograph a cell of a heatmap can see."""

from collections.abc import Sequence

from camserve.errors import OptionError
from camserve.explanation.contributions import checked_place
from camserve.geometry.frame import Placement
from camserve.geometry.receptive_field import Field


def receptive_box(
    placement: Placement,
    fields: tuple[Field, Field] | None,
    layers: Sequence[str],
    scales: Sequence[float],
    x: float,
    y: float,
) -> tuple[float, float, float, float]:
    """Return the result of `Attribution.receptive_box`."""
    if scales:
        raise OptionError("this explanation combines several sizes; explain without sharp to ask what a cell saw")
    if len(layers) > 1:
        raise OptionError(f"this explanation fuses {','.join(layers)}; explain with one layer to ask what a cell saw")
    left, top, right, bottom = placement.frame.box
    if fields is None:
        raise OptionError(f"the receptive field of layer '{layers[0]}' is unknown: the network has no traced graph")
    across, down = fields
    x, y = checked_place((x, y), placement)
    if across.global_context:
        return left, top, right, bottom
    u, v = (round(float(cell)) for cell in placement.cell_at(x, y))
    seen_left, _, seen_right, _ = across.box(u, v, clip=False)
    _, seen_top, _, seen_bottom = down.box(u, v, clip=False)
    # edges, not centres: half a pixel before the first and after the last
    first = placement.frame.to_original(seen_left - 0.5, seen_top - 0.5)
    last = placement.frame.to_original(seen_right - 0.5, seen_bottom - 0.5)
    return (
        max(first[0] + 0.5, left),
        max(first[1] + 0.5, top),
        min(last[0] + 0.5, right),
        min(last[1] + 0.5, bottom),
    )
