"""Whether the logits of a model file are a sum over the cells of one feature map, read from its graph. No torch.

    logits = bias + mean over cells of weight @ A          global average pooling and one constant matrix
    logits = mean over cells of A, or of ReLU(A)           a class map

Any other head is handled by `camserve.models.compiled.of_files`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from camserve.catalogue.head_kinds import HeadKind

if TYPE_CHECKING:
    import openvino

Float32 = npt.NDArray[np.float32]

_SHAPING = ("Reshape", "Squeeze", "Unsqueeze")


class ClosedHead(NamedTuple):
    """maps: the output A, (N, K, h, w), or (N, h, w, K) if is_last. logits: the output (N, C) or (N, C, 1, 1).

    weight: (C, K), None for a class map. bias: (C,). rectified: whether there is a ReLU before the mean.
    """

    maps: openvino.Output
    logits: openvino.Output
    is_last: bool
    weight: Float32 | None
    bias: Float32
    rectified: bool = False

    @property
    def kind(self) -> HeadKind:
        """The kind of head, as for any network."""
        return HeadKind.CLASS_MAP if self.weight is None else HeadKind.LINEAR


def closed_head_of(graph: openvino.Model) -> ClosedHead | None:
    """The head of the only output that could be logits; None for any other head, and for several such outputs."""
    answers = [output for output in graph.outputs if _is_answer(output)]
    if len(answers) != 1:
        return None
    logits = answers[0].get_node().input_value(0)
    logits = _shaped(logits)
    if _kind(logits) == "Softmax":  # it can only be over the classes
        logits = _into(logits)
    return _linear(logits) or _class_map(logits)


def _is_answer(output: openvino.Output) -> bool:
    """Whether the output is (N, C) or (N, C, 1, 1), or its rank is unknown."""
    shape = output.get_partial_shape()
    if shape.rank.is_dynamic:
        return True
    places = list(shape)[2:]
    return len(shape) == 2 or (len(shape) == 4 and all(one.is_static and one.get_length() == 1 for one in places))


def _linear(logits: openvino.Output) -> ClosedHead | None:
    value, bias = _without_bias(_shaped(logits))
    kind = _kind(value)
    if kind not in ("MatMul", "Convolution"):
        return None
    weight = _constant(value.get_node().input_value(1))
    if weight is None or (weight[..., 0, 0].ndim != 2 and weight.ndim != 2):
        return None
    if kind == "MatMul":
        facts = value.get_node().get_attributes()
        if weight.ndim != 2 or facts["transpose_a"]:
            return None
        weight = weight if facts["transpose_b"] else weight.T
    elif weight.shape[2:] != (1, 1):
        return None
    pooled = _pooled(_shaped(_into(value)))
    weight = weight.reshape(len(weight), -1).astype(np.float32)
    if pooled is None or bias.size not in (1, len(weight)):
        return None
    maps, is_last = pooled
    return ClosedHead(maps, logits, is_last, weight, np.broadcast_to(bias, len(weight)).astype(np.float32))


def _class_map(logits: openvino.Output) -> ClosedHead | None:
    pooled = _pooled(_shaped(logits))
    if pooled is None:
        return None
    (maps, is_last), rectified = pooled, _kind(pooled[0]) == "Relu"
    channels = maps.get_partial_shape()[3 if is_last else 1]
    if channels.is_dynamic:
        return None
    bias = np.zeros(channels.get_length(), np.float32)
    return ClosedHead(_into(maps) if rectified else maps, logits, is_last, None, bias, rectified)


def _pooled(value: openvino.Output) -> tuple[openvino.Output, bool] | None:
    """The input of a global average pooling, and whether its channels come last; None for any other value."""
    if _kind(value) != "ReduceMean":
        return None
    maps, axes = _into(value), _constant(value.get_node().input_value(1))
    if axes is None or maps.get_partial_shape().rank.is_dynamic or len(maps.get_partial_shape()) != 4:
        return None
    over = {int(axis) % 4 for axis in axes.flatten()}
    return (maps, over == {1, 2}) if over in ({2, 3}, {1, 2}) else None


def _without_bias(value: openvino.Output) -> tuple[openvino.Output, Float32]:
    """A value without the constant that is added to it last, and this constant."""
    node = value.get_node()
    if _kind(value) == "Add":
        for place in (1, 0):
            bias = _constant(node.input_value(place))
            if bias is not None:
                return _shaped(node.input_value(1 - place)), bias.flatten()
    return value, np.zeros(1, np.float32)


def _shaped(value: openvino.Output) -> openvino.Output:
    """The value before operations that only change its shape."""
    while _kind(value) in _SHAPING or _takes_all(value):
        value = _into(value)
    return value


def _takes_all(value: openvino.Output) -> bool:
    """Whether it is a Gather of all values in order; some exporters write a change of shape that way."""
    indices = _constant(value.get_node().input_value(1)) if _kind(value) == "Gather" else None
    return indices is not None and bool(np.array_equal(indices.flatten(), np.arange(indices.size)))


def _kind(value: openvino.Output) -> str:
    kind: str = value.get_node().get_type_name()
    return kind


def _into(value: openvino.Output) -> openvino.Output:
    return value.get_node().input_value(0)


def _constant(value: openvino.Output) -> Float32 | None:
    """The numbers of a constant, also of one in half precision."""
    node = value.get_node()
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return np.array(node.data) if node.get_type_name() == "Constant" else None
