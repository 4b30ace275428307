"""Which pixels of the photograph a cell of a heatmap can have seen."""

from typing import TYPE_CHECKING

from camserve.errors import OptionError

if TYPE_CHECKING:
    from camserve.explanation import Explanation


def receptive_box(one: "Explanation", x: float, y: float) -> tuple[float, float, float, float]:
    """What `Explanation.receptive_box` gives."""
    if one.scales:
        raise OptionError("this explanation combines several sizes; explain without sharp to ask what a cell saw")
    if "," in one.layer:
        raise OptionError(f"this explanation fuses {one.layer}; explain with one layer to ask what a cell saw")
    layer = one.model.layer(one.layer, one.output_stride)
    across, down = one.placement.frame.input
    fields = layer.field(across), layer.field(down)
    left, top, right, bottom = one.placement.frame.box
    if fields[0] is None or fields[1] is None:
        raise OptionError(f"the receptive field of layer '{one.layer}' is not known: the network has no traced graph")
    if fields[0].global_context:
        return left, top, right, bottom
    u, v = (round(float(cell)) for cell in one.placement.cell_at(x, y))
    seen_left, _, seen_right, _ = fields[0].box(u, v, clip=False)
    _, seen_top, _, seen_bottom = fields[1].box(u, v, clip=False)
    # edges, not centres: half a pixel before the first and after the last
    first = one.placement.frame.to_original(seen_left - 0.5, seen_top - 0.5)
    last = one.placement.frame.to_original(seen_right - 0.5, seen_bottom - 0.5)
    return (
        max(first[0] + 0.5, left),
        max(first[1] + 0.5, top),
        min(last[0] + 0.5, right),
        min(last[1] + 0.5, bottom),
    )
