"""Operations with weights or windows: convolutions, linear layers, pools, normalisation."""

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from camserve.models.compiled.same_padding import SamePad2d
from camserve.models.compiled.translation import Operation, Translation, rule
from camserve.models.compiled.values import Result, Untranslatable, Value, numbers

Pair = tuple[int, int]


@rule("Convolution")
def convolution(made: Translation, operation: Operation, value: Value, kernel: Value) -> Result:
    """kernel: (O, I, h, w)."""
    return _convolved(made, operation, value, _constant(kernel), groups=1)


@rule("GroupConvolution")
def group_convolution(made: Translation, operation: Operation, value: Value, kernel: Value) -> Result:
    """kernel: (groups, O / groups, I / groups, h, w)."""
    weight = _constant(kernel)
    return _convolved(made, operation, value, weight.flatten(0, 1), groups=len(weight))


def _constant(kernel: Value) -> Tensor:
    if not isinstance(kernel, Tensor):
        raise Untranslatable("its weights are computed from the picture")
    return kernel.float()


def _convolved(made: Translation, operation: Operation, value: Value, weight: Tensor, groups: int) -> Result:
    if weight.ndim != 4:
        raise Untranslatable(f"it runs over {weight.ndim - 2} spatial axes, not 2")
    facts, (out, inside) = operation.attributes, weight.shape[:2]
    kernel, stride, dilation = _pair(weight.shape[2:]), _pair(facts["strides"]), _pair(facts["dilations"])
    value, padding = _padded(made, operation, value, kernel, dilation)
    layer = nn.Conv2d(inside * groups, out, kernel, stride, padding, dilation, groups, bias=False)
    layer.weight = nn.Parameter(weight.contiguous())
    return made.layer(operation, layer, value)


def _padded(
    made: Translation, operation: Operation, value: Value, kernel: Pair, dilation: Pair, fill: float = 0
) -> tuple[Value, Pair]:
    """The input of a window, padded if the window itself cannot pad so, and the padding left to the window, (y, x)."""
    facts, auto = operation.attributes, str(operation.attributes.get("auto_pad", "explicit")).lower()
    around, stride = Operation("Pad", f"{operation.name}/Pad", {}, operation.shapes), _pair(facts["strides"])
    before, after = (_pair(facts[name]) for name in ("pads_begin", "pads_end"))
    if auto == "valid":
        before = after = (0, 0)
    elif auto != "explicit":
        is_lower = auto == "same_lower"
        if stride != (1, 1):
            return made.layer(around, SamePad2d(kernel, stride, dilation, fill, is_lower=is_lower), value), (0, 0)
        left, right, top, bottom = SamePad2d(kernel, stride, dilation, fill, is_lower=is_lower).same_padding(1, 1)
        before, after = (top, left), (bottom, right)
    if before == after:
        return value, before
    ends = before[1], after[1], before[0], after[0]
    return made.layer(around, nn.ConstantPad2d(ends, fill), value), (0, 0)


@rule("MatMul")
def matmul(made: Translation, operation: Operation, one: Value, other: Value) -> Result:
    """A product of matrices; a linear layer if the second is a constant matrix."""
    turned = operation.attributes["transpose_a"], operation.attributes["transpose_b"]
    if isinstance(other, Tensor) and other.ndim == 2 and not turned[0] and isinstance(one, fx.Node):
        weight = other.float() if turned[1] else other.float().T
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        layer.weight = nn.Parameter(weight.contiguous())
        return made.layer(operation, layer, one)
    first, second = (
        made.call("transpose", value, -1, -2) if turn else value
        for value, turn in zip((one, other), turned, strict=True)
    )
    return made.call(torch.matmul, first, second)


@rule("ScaledDotProductAttention")
def attention(
    made: Translation,
    operation: Operation,
    query: Value,
    key: Value,
    value: Value,
    mask: Value | None = None,
    scale: Value | None = None,
) -> Result:
    """Attention: softmax of the products, times the values; the mask is added before the softmax."""
    if operation.attributes.get("causal"):
        raise Untranslatable("its attention is causal")
    added = None if mask is None or (isinstance(mask, Tensor) and not mask.any()) else made.as_node(mask)
    by = {} if scale is None else {"scale": float(numbers(scale)[0])}
    return made.call(F.scaled_dot_product_attention, query, key, value, attn_mask=added, **by)


@rule("MaxPool")
def max_pool(made: Translation, operation: Operation, value: Value) -> Result:
    """Padding does not count."""
    kernel, stride, ceil = _window(operation)
    dilation = _pair(operation.attributes.get("dilations", (1, 1)))
    value, padding = _padded(made, operation, value, kernel, dilation, float("-inf"))
    return made.layer(operation, nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil), value)


@rule("AvgPool")
def avg_pool(made: Translation, operation: Operation, value: Value) -> Result:
    """Padding counts as zeros, or does not count."""
    kernel, stride, ceil = _window(operation)
    excludes = bool(operation.attributes["exclude-pad"])
    if kernel == operation.shapes[0][2:]:
        return made.layer(operation, nn.AdaptiveAvgPool2d(1), value)
    padded, padding = _padded(made, operation, value, kernel, (1, 1))
    if padded is value or not excludes:
        return made.layer(operation, nn.AvgPool2d(kernel, stride, padding, ceil, not excludes), padded)
    ones = made.call(torch.ones_like, value)
    counts, _ = _padded(made, operation, ones, kernel, (1, 1))
    sums, counts = (made.layer(operation, nn.AvgPool2d(kernel, stride, 0, ceil), one) for one in (padded, counts))
    return made.call(torch.div, sums, counts)


def _window(operation: Operation) -> tuple[Pair, Pair, bool]:
    """Kernel, stride (y, x), and whether the last window may reach beyond the edge."""
    facts = operation.attributes
    return _pair(facts["kernel"]), _pair(facts["strides"]), "ceil" in str(facts["rounding_type"]).lower()


def _pair(given: Any) -> Pair:
    if len(given) != 2:
        raise Untranslatable(f"it runs over {len(given)} spatial axes, not 2")
    return given[0], given[1]


@rule("GroupNormalization")
def group_norm(made: Translation, operation: Operation, value: Value, scale: Value, bias: Value) -> Result:
    """Group normalisation with a scale and a bias for each channel."""
    facts = operation.attributes
    return made.call(
        F.group_norm, value, int(facts["num_groups"]), made.as_node(scale), made.as_node(bias), float(facts["epsilon"])
    )


@rule("LRN")
def local_response(made: Translation, operation: Operation, value: Value, axes: Value) -> Result:
    """Local response normalisation across neighbouring channels."""
    facts = operation.attributes
    if numbers(axes) != [1]:
        raise Untranslatable("it runs over spatial axes")
    layer = nn.LocalResponseNorm(int(facts["size"]), float(facts["alpha"]), float(facts["beta"]), float(facts["bias"]))
    return made.layer(operation, layer, value)


@rule("Einsum")
def einsum(made: Translation, operation: Operation, *values: Value) -> Result:
    """Sums of products, as in the equation."""
    return made.call(torch.einsum, operation.attributes["equation"], *values)


@rule("ShuffleChannels")
def shuffle_channels(made: Translation, operation: Operation, value: Value) -> Result:
    """Takes one channel of each group in turn."""
    if operation.attributes["axis"] % len(operation.shapes[0]) != 1:
        raise Untranslatable("it shuffles along a spatial axis")
    return made.layer(operation, nn.ChannelShuffle(int(operation.attributes["group"])), value)
