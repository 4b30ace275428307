"""The cost of an operation: multiply-adds (MACs), counted as usual in the field.

Counted: every product of a weight with an activation, or of two activations, that goes into a sum: convolutions, linear
layers, products of matrices, attention. Not counted: biases, normalisation, activations, pooling, softmax and
element-wise operations. So 1 MAC is 2 FLOPs of `torch.utils.flop_counter`, which the tests compare with, and
1 flop of fvcore's operators conv, linear and matmul.
"""

import math
from collections.abc import Callable

from torch import fx

from camserve.graph.receptive.rules import RULES, rule_of
from camserve.graph.receptive.step import NotKnown
from camserve.models.inspection.operation import Operation, Shape


def multiply_adds(operation: Operation) -> int | None:
    """MACs of one operation with its inputs in the graph. None if its cost is unknown."""
    counted = COSTS.get(operation.name)
    if counted is not None:
        return counted(operation)
    asks = operation.layer is None and not operation.output
    return 0 if asks or _is_free(operation) else None


def _is_free(operation: Operation) -> bool:
    if operation.node.op == "get_attr":
        return True
    if operation.layer is not None:
        return operation.name in RULES
    try:
        rule_of(operation.node.target)
    except NotKnown:
        return False
    return True


def _convolution(operation: Operation) -> int:
    """h w C_out (C_in / groups) kh kw. Transposed, each input is multiplied: h w C_in (C_out / groups) kh kw."""
    layer = operation.layer
    weight: Shape = operation.shape(1, "weight") if layer is None else tuple(layer.weight.shape)  # type: ignore
    transposed = "transpose" in operation.name.lower()
    return math.prod(operation.shape() if transposed else operation.output) * math.prod(weight[1:])


def _linear(operation: Operation) -> int:
    """One product per output and input feature."""
    return math.prod(operation.output) * operation.shape()[-1]


def _product(operation: Operation) -> int:
    """One product per element of the result and of the dimension summed over."""
    return math.prod(operation.output) * operation.shape()[-1]


def _product_added(operation: Operation) -> int:
    return math.prod(operation.output) * operation.shape(1, "batch1")[-1]


def _einsum(operation: Operation) -> int | None:
    """Two tensors: the product of the sizes of all letters. More tensors: None, since the order of products matters."""
    equation, *tensors = operation.node.args
    tensors = list(tensors[0]) if isinstance(tensors[0], list | tuple) else tensors
    shapes = [operation.shapes[tensor.name] for tensor in tensors if isinstance(tensor, fx.Node)]
    letters = str(equation).replace(" ", "").split("->")[0].split(",")
    if len(shapes) != 2 or any(len(names) != len(shape) for names, shape in zip(letters, shapes, strict=True)):
        return None
    sizes: dict[str, int] = {}
    for names, shape in zip(letters, shapes, strict=True):
        sizes |= dict(zip(names, shape, strict=True))
    return math.prod(sizes.values())


def _attention(operation: Operation) -> int:
    """q k^T, then its softmax times v: L S (E + E_v) for each image and head."""
    query, key, value = (operation.shape(place, name) for place, name in enumerate(("query", "key", "value")))
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _multihead_attention(operation: Operation) -> int:
    """The four projections, and attention: L E E + S E_k E + S E_v E + L E E + 2 L S E for each image."""
    query, key, value = (operation.shape(place, name) for place, name in enumerate(("query", "key", "value")))
    batched = getattr(operation.layer, "batch_first", False) or len(key) == 2
    places, width = key[-2 if batched else 0], query[-1]
    projections = 2 * math.prod(query) + math.prod(key) + math.prod(value)
    return projections * width + 2 * math.prod(query) * places


def _window_attention(operation: Operation) -> int:
    """torchvision's Swin: four projections of T padded places of C channels, and attention within windows."""
    images, height, width, channels = operation.shape()
    down, across = (int(side) for side in operation.argument(4, "window_size"))
    places = images * math.ceil(height / down) * down * math.ceil(width / across) * across
    return 4 * places * channels * channels + 2 * places * down * across * channels


def _nothing(operation: Operation) -> int:
    """Operations that only move, make, scale or compare values, and are not in camserve.graph.receptive."""
    return 0


def _table(*rows: tuple[Callable[[Operation], int | None], str]) -> dict[str, Callable[[Operation], int | None]]:
    return {name: cost for cost, names in rows for name in names.split()}


COSTS = _table(
    (_convolution, "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d"),
    (_convolution, "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"),
    (_linear, "Linear NonDynamicallyQuantizableLinear linear"),
    (_product, "matmul bmm mm mv dot"),
    (_product_added, "baddbmm addmm addbmm"),
    (_einsum, "einsum"),
    (_attention, "scaled_dot_product_attention"),
    (_multihead_attention, "MultiheadAttention"),
    (_window_attention, "shifted_window_attention"),
    (
        _nothing,
        "repeat repeat_interleave roll flip stack unfold fold Unfold Fold interpolate Upsample masked_fill",
    ),
    (_nothing, "PixelShuffle PixelUnshuffle pixel_shuffle pixel_unshuffle _get_relative_position_bias"),
    (_nothing, "zeros ones full arange zeros_like ones_like full_like new_zeros new_ones gt lt ge le eq ne invert"),
    (
        _nothing,
        "max min argmax norm std var reciprocal sin cos cumsum reshape_as view_as glu GLU RMSNorm rms_norm",
    ),
    (_nothing, "for_each AvgPool1d MaxPool1d AvgPool3d MaxPool3d AdaptiveAvgPool1d AdaptiveAvgPool3d BatchNorm3d"),
)
