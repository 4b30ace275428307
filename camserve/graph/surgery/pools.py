"""Poolings on a denser lattice; see kernels.py for what that is."""

import operator
from collections.abc import Sequence
from math import inf
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from camserve.graph.receptive.step import Step
from camserve.graph.surgery.kernels import Onto, Pair, kernel_of, pad_input, pair, stride_of
from camserve.graph.surgery.twin import insert, put


def place_max_pool(made: fx.GraphModule, node: fx.Node, step: Step, onto: Onto) -> None:
    """Rewrite `node`, a max pooling that did `step`."""
    kernel, dilation = kernel_of(step), onto.scaled(step.option("dilation", 1))
    padding = onto.scaled(step.option("padding", 0))
    # torch pads a pooling by half its kernel at most, whatever the dilation
    if _rounds_up(step) or padding[0] > kernel[0] // 2 or padding[1] > kernel[1] // 2:
        pad_input(made, node, _edges(made, node, step, onto), -inf)
        padding = 0, 0
    put(made, node, nn.MaxPool2d(kernel, onto.stride, padding, dilation), node.all_input_nodes[0])


def place_average_pool(made: fx.GraphModule, node: fx.Node, step: Step, onto: Onto) -> None:
    """Rewrite `node`, an average pooling that did `step`, as a convolution of each channel by itself.

    torch's average pooling knows no dilation. Where windows at the edge count fewer cells than elsewhere, each
    cell is multiplied by what that makes. Equal to float precision: the sum is taken in another order.
    """
    layer, edges = _average(made, step, onto), _edges(made, node, step, onto)
    counted, uneven = step.option("count_include_pad", True), _rounds_up(step)
    uneven = uneven or (not counted and layer.padding != (0, 0))
    share = None
    if uneven and not step.option("divisor_override"):
        share = _share(made, node, edges, {"inner": layer.padding, "counted": counted, **_shape(layer)})
    if _rounds_up(step):
        pad_input(made, node, edges)
        layer.padding = (0, 0)
    source = node.all_input_nodes[0]
    if share is None:
        put(made, node, layer, source)
    else:
        averaged = insert(made, node, layer, source)
        node.op, node.target, node.args, node.kwargs = "call_function", operator.mul, (averaged, share), {}


def _average(made: fx.GraphModule, step: Step, onto: Onto) -> nn.Conv2d:
    """The mean over each window as a convolution, over all its cells whether they exist or not."""
    channels, kernel = step.value.shape[1], kernel_of(step)
    layer = nn.Conv2d(channels, channels, kernel, onto.stride, groups=channels, bias=False, device="meta")
    layer.padding, layer.dilation = onto.scaled(step.option("padding", 0)), onto.factor
    weight = 1 / (step.option("divisor_override") or kernel[0] * kernel[1])
    values = torch.full(layer.weight.shape, weight, dtype=step.value.dtype, device=step.value.device)
    layer.weight = nn.Parameter(values, requires_grad=False)
    return layer


def _shape(layer: nn.Conv2d) -> dict[str, Any]:
    return {name: getattr(layer, name) for name in ("kernel_size", "stride", "dilation")}


def _share(made: fx.GraphModule, node: fx.Node, edges: Any, options: dict[str, Any]) -> fx.Node:
    """A node that gives what `window_share` makes of the size of what `node` pools."""
    source = node.all_input_nodes[0]
    with made.graph.inserting_before(node):
        size = made.graph.call_method("size", (source,))
        dtype, device = (made.graph.call_function(getattr, (source, name)) for name in ("dtype", "device"))
        return made.graph.call_function(window_share, (size, edges, dtype, device), options)


def window_share(
    size: Sequence[int],
    edges: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
    *,
    inner: Pair,
    counted: bool,
    kernel_size: Pair,
    stride: Pair,
    dilation: Pair,
) -> torch.Tensor:
    """Cells of a window over those of them that count, (1, 1, h', w'), for windows over a map of `size`.

    edges: (left, right, top, bottom) of all padding. Of it only `inner`, the padding proper, may count; what
    ceil_mode lets a window reach beyond never does.
    """
    down, across = inner
    cells = F.pad(torch.ones(1, 1, *size[-2:], dtype=dtype, device=device), (across, across, down, down), value=counted)
    cells = F.pad(cells, (0, edges[1] - across, 0, edges[3] - down))
    window = torch.ones(1, 1, *kernel_size, dtype=dtype, device=device)
    return window.numel() / F.conv2d(cells, window, stride=stride, dilation=dilation)


def _rounds_up(step: Step) -> bool:
    """Whether ceil_mode can give a cell more; with stride 1 it cannot."""
    return bool(step.option("ceil_mode", False)) and stride_of(step) != (1, 1)


def _edges(made: fx.GraphModule, node: fx.Node, step: Step, onto: Onto) -> Any:
    """(left, right, top, bottom) cells that windows reach beyond the map, or a node that gives them."""
    down, across = onto.scaled(step.option("padding", 0))
    if not _rounds_up(step):
        return across, across, down, down
    options: dict[str, Any] = {
        "kernel": kernel_of(step),
        "stride": stride_of(step),
        "padding": pair(step.option("padding", 0)),
        "dilation": pair(step.option("dilation", 1)),
        "factor": onto.factor,
    }
    with made.graph.inserting_before(node):
        size = made.graph.call_method("size", (node.all_input_nodes[0],))
        return made.graph.call_function(ceil_edges, (size,), options)


def ceil_edges(
    size: Sequence[int], *, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, factor: Pair
) -> tuple[int, ...]:
    """(left, right, top, bottom) that a pooling with ceil_mode reaches beyond a map of dense `size`, (..., h, w).

    kernel, stride, padding, dilation: on the original lattice, whose size is ceil(size / factor).
    """
    edges = []
    for axis in (1, 0):
        cells = -(-size[axis - 2] // factor[axis])
        span = cells + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1
        windows = -(-span // stride[axis]) + 1
        windows -= (windows - 1) * stride[axis] >= cells + padding[axis]  # torch drops one that is all padding
        more = max((windows - 1) * stride[axis] - span, 0)
        edges += [padding[axis] * factor[axis], (padding[axis] + more) * factor[axis]]
    return tuple(edges)
