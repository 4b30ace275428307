"""The stride and offset of one layer's cells in the network's input, at any input size."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from camserve.geometry.frame import Frame, Pair, Placement
from camserve.geometry.receptive_field import Field


@dataclass(frozen=True)
class Cells:
    """The cells of a layer.

    trained: (w, h) of the input that the network was trained at, pixels. stride: pixels between cells, (x, y). centred:
    the pixel (x, y) of the first cell at that size by the centred rule; measured: the same pixel from a measurement,
    None without one. field_by_side: takes a number of pixels and returns the receptive field on an input that is so
    many pixels larger each way, None where it is not known. period: input sizes that differ by this many pixels have
    the same padding.
    """

    trained: tuple[int, int]
    stride: Pair
    centred: Pair
    measured: Pair | None
    field_by_side: Callable[[int], Field | None]
    period: int

    def field(self, side: int | None = None, axis: int = 0) -> Field | None:
        """The receptive field on an input that has `side` pixels along an axis; None: not known.

        Only the start along this axis is exact. side: by default the side of the training input; axis: 0 across, 1
        down. Padding that depends on the size repeats with a period, so one field for each remainder is enough.
        """
        more = 0 if side is None else side - self.trained[axis]
        return self.field_by_side(more % self.period)

    def placement(self, frame: Frame, grid: tuple[int, int], *, centred: bool = False) -> Placement:
        """Where the cells lie in a photograph: the true stride, and the offset by the best available rule.

        The offset is the measured one ("calibrated"), or the centred one without a measurement. If the padding at this
        size moves the receptive fields from where they are at the training size, the offset moves with them. centred:
        use the centred offset even if there is a measured one.
        """
        rule = "centred" if centred or self.measured is None else "calibrated"
        offset = self.centred if centred or self.measured is None else self.measured

        def moved(axis: int) -> float:
            now, trained = self.field(frame.input[axis], axis), self.field_by_side(0)
            return 0 if now is None or trained is None else now.start[axis] - trained.start[axis]

        return Placement(frame, grid, self.stride, (offset[0] + moved(0), offset[1] + moved(1)), rule)


def stride_of(field: Field | None, trained: tuple[int, int], cells: tuple[int, int]) -> Pair:
    """Input pixels between neighbouring cells, (x, y).

    Without a receptive field: the power of two that is nearest to size / cells, because strides multiply by two.
    """
    if field is not None:
        return field.stride
    across, down = (2.0 ** round(math.log2(side / count)) for side, count in zip(trained, cells, strict=True))
    return across, down


def centred_offset(field: Field | None, trained: tuple[int, int], cells: tuple[int, int], stride: Pair) -> Pair:
    """The offset that centres the n cells in the training size S: ((S - 1) - (n - 1) J) / 2.

    Padding shifts cells by less than one cell, and training compensates for that. If the receptive field starts more
    than one cell away from the centred offset, the network looks only at a part of the image; its start is then used.
    """
    x, y = (((trained[axis] - 1) - (cells[axis] - 1) * stride[axis]) / 2 for axis in (0, 1))
    if field is None or (abs(field.start[0] - x) <= stride[0] and abs(field.start[1] - y) <= stride[1]):
        return x, y
    return field.start
