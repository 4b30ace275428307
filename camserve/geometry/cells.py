"""Where the cells of one layer lie in the network's input, at any size of it: true stride, and the best offset."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from camserve.geometry.frame import Frame, Pair, Placement
from camserve.geometry.receptive_field import Field


@dataclass(frozen=True)
class Cells:
    """The cells of a layer.

    trained: (w, h) of the input that the network was trained at, pixels. stride: pixels between cells, (x, y). centred:
    the pixel (x, y) of the first cell at that size by the centred rule; measured: the same where it has been measured.
    field_by_side: the receptive field on an input so many pixels larger each way, None where it is not known. period:
    sizes that differ by so many pixels are padded alike.
    """

    trained: tuple[int, int]
    stride: Pair
    centred: Pair
    measured: Pair | None
    field_by_side: Callable[[int], Field | None]
    period: int

    def field(self, side: int | None = None, axis: int = 0) -> Field | None:
        """The receptive field, as far as where its cells start along an axis of `side` pixels; None: not known.

        side: default as trained; axis: 0 across, 1 down. Padding that depends on the size repeats with a period, so
        one field per remainder serves all sizes.
        """
        more = 0 if side is None else side - self.trained[axis]
        return self.field_by_side(more % self.period)

    def placement(self, frame: Frame, grid: tuple[int, int], *, centred: bool = False) -> Placement:
        """Where the cells sit in a photograph: the true stride, and the offset by the best rule there is.

        The measured offset ("calibrated"), else the centred one, plus what the padding moves the receptive fields by
        between the size trained at and this one. centred: that rule, also where there is a measurement.
        """
        rule = "centred" if centred or self.measured is None else "calibrated"
        offset = self.centred if centred or self.measured is None else self.measured

        def moved(axis: int) -> float:
            now, trained = self.field(frame.input[axis], axis), self.field_by_side(0)
            return 0 if now is None or trained is None else now.start[axis] - trained.start[axis]

        return Placement(frame, grid, self.stride, (offset[0] + moved(0), offset[1] + moved(1)), rule)


def stride_of(field: Field | None, trained: tuple[int, int], cells: tuple[int, int]) -> Pair:
    """Input pixels between neighbouring cells, (x, y).

    Where the graph is not known, the power of two nearest to size over cells: strides multiply by two.
    """
    if field is not None:
        return field.stride
    across, down = (2.0 ** round(math.log2(side / count)) for side, count in zip(trained, cells, strict=True))
    return across, down


def centred_offset(field: Field | None, trained: tuple[int, int], cells: tuple[int, int], stride: Pair) -> Pair:
    """The offset at which the n cells lie around the middle of the size S trained at: ((S - 1) - (n - 1) J) / 2.

    Trained networks learn away what their padding shifts, less than a cell; a network that looks at a part of the
    image only is further off, and there the receptive field tells.
    """
    x, y = (((trained[axis] - 1) - (cells[axis] - 1) * stride[axis]) / 2 for axis in (0, 1))
    if field is None or (abs(field.start[0] - x) <= stride[0] and abs(field.start[1] - y) <= stride[1]):
        return x, y
    return field.start
