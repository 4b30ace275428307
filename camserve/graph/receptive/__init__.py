"""Which pixels of the input a cell of a feature map can have seen, and where cells lie.

    receptive_fields(trace(model), (w, h)).layer("layer4").box(u, v)

field.py is the arithmetic, rules.py what each operation does to it, step.py what a rule is told, walk.py the
way through a network.
"""

from camserve.geometry.receptive_field import Field
from camserve.graph.receptive.walk import NO_MAP, Fields, field_by_side, receptive_fields

__all__ = ["NO_MAP", "Field", "Fields", "field_by_side", "receptive_fields"]
