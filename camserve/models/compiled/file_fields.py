"""Receptive fields of a feature map, read from the graph of a model file. No torch.

The arithmetic is that of a traced network (`camserve.graph.receptive`), for the operations of convolutional networks.
Any other operation gives None: then torch inspects the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from camserve.geometry.receptive_field import Field, Window, whole_image

if TYPE_CHECKING:
    import openvino

_WINDOWED = ("Convolution", "GroupConvolution", "MaxPool", "AvgPool")
# Operations on one value at each place, or on several values at the same place.
_PLACED = frozenset(
    word
    for words in (
        "Relu Clamp Sigmoid Tanh Swish HSwish HSigmoid HardSigmoid Gelu Elu Selu PRelu SoftPlus Mish Convert",
        "FakeQuantize Add Subtract Multiply Divide Maximum Minimum Power SquaredDifference Sqrt Exp Abs Negative Floor",
        "BatchNormInference ShuffleChannels",
    )
    for word in words.split()
)
# Operations that move values without computing.
_MOVING = frozenset(("Reshape", "Squeeze", "Unsqueeze", "Split", "VariadicSplit", "Gather", "Slice", "StridedSlice"))
_AXES = {False: (-1, -2), True: (-2, -3)}


class _Seen(NamedTuple):
    """The receptive field of a value. grid: (w, h). axes: (x, y), counted from the end; None if it has no grid."""

    field: Field
    grid: tuple[int, int]
    axes: tuple[int, int] | None


class _Unknown(Exception):
    pass


def field_of(graph: openvino.Model, image: str, value: openvino.Output, *, image_is_last: bool) -> Field | None:
    """The field of a feature map in a graph with fixed sizes. image: the name of the input."""
    seen = dict[str, _Seen | None]()
    wanted = value.get_node().get_friendly_name()
    try:
        for node in graph.get_ordered_ops():
            name, shape = node.get_friendly_name(), _shape(node.output(0)) if node.get_output_size() else ()
            if name == image:
                axes = _AXES[image_is_last]
                size = shape[axes[0]], shape[axes[1]]
                seen[name] = _Seen(whole_image(*size), size, axes)
            else:
                seen[name] = _passed_on(node, seen, shape)
            if name == wanted:
                found = seen[name]
                return None if found is None or found.axes is None else found.field
    except (_Unknown, KeyError, IndexError):
        return None
    return None


def _shape(value: openvino.Output) -> tuple[int, ...]:
    partial = value.get_partial_shape()
    if partial.rank.is_dynamic or any(one.is_dynamic for one in list(partial)[1:]):
        return ()
    return (1, *(one.get_length() for one in list(partial)[1:]))


def _passed_on(node: Any, seen: dict[str, _Seen | None], shape: tuple[int, ...]) -> _Seen | None:
    inputs = [seen[node.input_value(place).get_node().get_friendly_name()] for place in range(node.get_input_size())]
    given = [one for one in inputs if one is not None]
    kind = node.get_type_name()
    if not given or kind == "ShapeOf":
        return None
    if kind in _WINDOWED:
        return _windowed(node, kind, given[0], shape)
    if kind in _PLACED or (kind == "Concat" and _is_of_channels(node, given[0], len(shape))):
        return _joined(given, shape)
    if kind in ("ReduceMean", "ReduceMax", "ReduceSum"):
        return _reduced(node, given[0], shape)
    if kind == "Pad":
        return _padded(node, given[0], shape)
    if kind == "Transpose":
        return _turned(node, given[0], shape)
    if kind in _MOVING or kind == "MatMul":
        return _kept(given[0], shape)
    raise _Unknown(kind)


def _windowed(node: Any, kind: str, given: _Seen, shape: tuple[int, ...]) -> _Seen:
    if given.axes != (-1, -2):
        raise _Unknown(kind)
    facts = node.get_attributes()
    kernel = facts["kernel"] if "kernel" in facts else _shape(node.input_value(1))[-2:]
    stride, dilation = facts["strides"], facts.get("dilations", (1, 1))
    auto = str(facts.get("auto_pad", "explicit")).lower()
    windows, places = [], given.grid[::-1]
    for axis in (0, 1):
        reach = dilation[axis] * (kernel[axis] - 1)
        before = facts["pads_begin"][axis] if auto == "explicit" else 0
        if auto.startswith("same"):
            total = max((shape[axis - 2] - 1) * stride[axis] + reach + 1 - places[axis], 0)
            before = total // 2 if auto.endswith("upper") else total - total // 2
        windows.append(Window(stride[axis], -before, reach - before))
    return _through(given, windows[1], windows[0], shape)


def _through(given: _Seen, x: Window, y: Window, shape: tuple[int, ...]) -> _Seen:
    across, down = given.axes or (-1, -2)
    return _Seen(given.field.through(x, y, given.grid), (shape[across], shape[down]), given.axes)


def _joined(given: list[_Seen], shape: tuple[int, ...]) -> _Seen:
    """The union of the fields of all inputs; a broadcast input reaches every cell."""
    placed = [one for one in given if one.axes] or given
    axes = placed[0].axes
    grid = (shape[axes[0]], shape[axes[1]]) if axes and len(shape) >= 3 else placed[0].grid
    full = [one for one in placed if (one.axes, one.grid) == (axes, grid)]
    if not full:
        raise _Unknown("a grid of its own")
    field = full[0].field
    for one in full[1:]:
        field = field.join(one.field, grid)
    for one in given:
        field = field if one in full else field.informed_by(one.field.everywhere(one.grid))
    return _Seen(field, grid, axes)


def _is_of_channels(node: Any, given: _Seen, rank: int) -> bool:
    axis = node.get_attributes()["axis"]
    return given.axes is None or (axis if axis < 0 else axis - rank) not in given.axes


def _reduced(node: Any, given: _Seen, shape: tuple[int, ...]) -> _Seen:
    axes, before = np.array(node.input_value(1).get_node().data).flatten(), len(_shape(node.input_value(0)))
    over = {int(axis) - before if axis >= 0 else int(axis) for axis in axes}
    if given.axes is None or not over & set(given.axes):
        return given if before == len(shape) or given.axes is None else given._replace(axes=None)
    if not over >= set(given.axes):
        raise _Unknown("a mean along one side")
    field = given.field.everywhere(given.grid)
    x, y = (Window(cells, 0, cells - 1) for cells in given.grid)
    return _Seen(field.through(x, y, given.grid), (1, 1), given.axes if before == len(shape) else None)


def _padded(node: Any, given: _Seen, shape: tuple[int, ...]) -> _Seen:
    if given.axes is None or str(node.get_attributes()["pad_mode"]).lower() != "constant":
        raise _Unknown("Pad")
    before = np.array(node.input_value(1).get_node().data).flatten()
    x, y = (Window(1, -int(before[axis]), -int(before[axis])) for axis in given.axes)
    return _through(given, x, y, shape)


def _turned(node: Any, given: _Seen, shape: tuple[int, ...]) -> _Seen:
    order = [int(axis) for axis in np.array(node.input_value(1).get_node().data).flatten()]
    if given.axes is None:
        return given
    across, down = (order.index(axis + len(order)) - len(order) for axis in given.axes)
    return given._replace(axes=(across, down))


def _kept(given: _Seen, shape: tuple[int, ...]) -> _Seen:
    """The field after a reshape: same cells if the last axes are still the grid; a single value may get any shape."""
    if given.grid == (1, 1):
        return given._replace(axes=(-1, -2) if len(shape) == 4 and shape[-2:] == (1, 1) else None)
    if given.axes == (-1, -2) and tuple(shape[-2:]) == given.grid[::-1]:
        return given
    if given.axes == (-2, -3) and len(shape) == 4 and tuple(shape[-3:-1]) == given.grid[::-1]:
        return given
    return given._replace(axes=None)
