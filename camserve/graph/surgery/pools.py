"""Poolings on a denser lattice; kernels.py explains the lattice."""

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
    # torch pads a pooling by at most half its kernel, also with dilation
    if _rounds_up(step) or padding[0] > kernel[0] // 2 or padding[1] > kernel[1] // 2:
        pad_input(made, node, _edges(made, node, step, onto), -inf)
        padding = 0, 0
    put(made, node, nn.MaxPool2d(kernel, onto.stride, padding, dilation), node.all_input_nodes[0])


def place_average_pool(made: fx.GraphModule, node: fx.Node, step: Step, onto: Onto) -> None:
    """Rewrite `node`, an average pooling that did `step`, as a convolution of each channel separately.

    torch's average pooling has no dilation. If windows at the edge count fewer cells than others, each output cell is
    multiplied by a correction. Results are equal to float precision, because the order of the sum differs.
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
    """The mean over each window as a convolution; it divides by all cells of the window, also those in the padding."""
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
    """A node that calls `window_share` with the size of the input of `node`."""
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
    """The number of cells of each window divided by the number that counts, (1, 1, h', w'), over a map of `size`.

    edges: (left, right, top, bottom) of all padding. Only `inner`, the padding of the layer itself, may count; cells
    that a window reaches because of ceil_mode never count.
    """
    down, across = inner
    cells = F.pad(torch.ones(1, 1, *size[-2:], dtype=dtype, device=device), (across, across, down, down), value=counted)
    cells = F.pad(cells, (0, edges[1] - across, 0, edges[3] - down))
    window = torch.ones(1, 1, *kernel_size, dtype=dtype, device=device)
    return window.numel() / F.conv2d(cells, window, stride=stride, dilation=dilation)


def _rounds_up(step: Step) -> bool:
    """Whether ceil_mode can add a cell; with stride 1 it cannot."""
    return bool(step.option("ceil_mode", False)) and stride_of(step) != (1, 1)


def _edges(made: fx.GraphModule, node: fx.Node, step: Step, onto: Onto) -> Any:
    """How many cells (left, right, top, bottom) windows reach outside the map, or a node that computes them."""
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
    """How many cells (left, right, top, bottom) a pooling with ceil_mode reaches outside a dense map of `size`.

    size: (..., h, w). kernel, stride, padding, dilation: on the original lattice, whose size is ceil(size / factor).
    """
    edges = []
    for axis in (1, 0):
        cells = -(-size[axis - 2] // factor[axis])
        span = cells + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1
        windows = -(-span // stride[axis]) + 1
        windows -= (windows - 1) * stride[axis] >= cells + padding[axis]  # torch drops a window of padding alone
        more = max((windows - 1) * stride[axis] - span, 0)
        edges += [padding[axis] * factor[axis], (padding[axis] + more) * factor[axis]]
    return tuple(edges)
