"""Fully connected layers as convolutions: a map of class scores from a classifier that flattens.

A Linear (O, K kh kw) on a flattened map (K, kh, kw) is a convolution with the kernel (O, K, kh, kw); each
Linear after it is a 1x1 convolution. Sources: Sermanet et al., OverFeat (ICLR 2014, arXiv:1312.6229); Long,
Shelhamer and Darrell, Fully Convolutional Networks (CVPR 2015, arXiv:1411.4038).
"""

from typing import Any

from torch import fx, nn

from camserve.errors import ModelError
from camserve.graph.receptive.walk import receptive_fields
from camserve.graph.surgery.dry_run import RecordedWalk, walk
from camserve.graph.surgery.replacements import SlidingLinear
from camserve.graph.surgery.tail import Tail, find_tail, kind
from camserve.graph.surgery.twin import finish, put, shared, twin, up_to


def convolve_linear(graph: fx.GraphModule, input_size: tuple[int, int], channels: int = 3) -> fx.GraphModule:
    """A graph whose answer is a map of class scores, (N, C, oh, ow): (N, C, 1, 1) at its own size.

    input_size: (w, h) pixels, the size that the classifier was made for. At this size an adaptive pooling before the
    flattening changes nothing, and it is removed. Weights are shared, reshaped and never copied. Inputs whose last map
    is smaller than one window raise OptionError.

    At its own size the scores equal the original's bit for bit (test_surgery: test_native_size_is_bit_for_bit, on
    AlexNet and VGG-11), or to float precision if a softmax follows. At other sizes, a cell equals the classifier on its
    crop only in networks without zero padding, because the crop has zeros where the larger image has pixels. With
    random (He) weights, a cell in the middle differs by 26 % of the scores' standard deviation in AlexNet and in VGG-11
    (test_zero_padding_sets_cells_apart).

    Raises ModelError if the tail is not a chain of flattening, Linear, BatchNorm1d, activations, dropout and
    softmax over the classes, or if it pools over the whole map: CAM is then the map of class scores.
    """
    walked = walk(graph, input_size, channels)
    tail = find_tail(walked)
    made, copies = twin(graph)
    _replace_layers(walked, tail, made, copies)
    _drop(walked, tail, made, copies)
    finish(made)
    _check_slides(made, copies[tail.layers[0]].all_input_nodes[0], tail, walked)
    return made


def _replace_layers(walked: RecordedWalk, tail: Tail, made: fx.GraphModule, copies: dict[fx.Node, fx.Node]) -> None:
    channels, window = tail.channels, tail.window
    for node in tail.layers:
        step, copied = walked.steps[node], copies[node]
        name = kind(walked, node)
        if name == "linear":
            put(made, copied, SlidingLinear(step.target, channels, window), copied.args[0])
            channels, window = step.target.out_features, (1, 1)
        elif name == "batchnorm1d":
            put(made, copied, _batch_norm(step.target), copied.args[0])
        elif "softm" in name:
            _along_classes(made, copied, step.target)


def _batch_norm(layer: nn.BatchNorm1d) -> nn.BatchNorm2d:
    """The same normalisation of (N, C, h, w), with the same statistics."""
    made = nn.BatchNorm2d(layer.num_features, layer.eps, layer.momentum, affine=layer.affine, device="meta")
    if layer.affine:
        made.weight, made.bias = shared(layer.weight, -1), shared(layer.bias, -1)
    made.running_mean, made.running_var = layer.running_mean, layer.running_var
    made.num_batches_tracked = layer.num_batches_tracked
    return made


def _along_classes(made: fx.GraphModule, node: fx.Node, target: Any) -> None:
    """Change a softmax over the last dimension of (N, C) to one over the second dimension of (N, C, h, w)."""
    if isinstance(target, nn.Module):
        put(made, node, type(target)(dim=1), node.args[0])
    elif len(node.args) > 1:
        node.update_arg(1, 1)
    else:
        node.update_kwarg("dim", 1)


def _drop(walked: RecordedWalk, tail: Tail, made: fx.GraphModule, copies: dict[fx.Node, fx.Node]) -> None:
    """Remove nodes that now change nothing, and sizes that only a flattening used."""
    for node in tail.dropped:
        copies[node].replace_all_uses_with(copies[node].all_input_nodes[0])
    for node, copied in reversed(copies.items()):
        size = walked.seen[node] is None and node.op.startswith("call") and not node.is_impure()
        if not copied.users and (node in tail.dropped or size):
            made.graph.erase_node(copied)


def _check_slides(made: fx.GraphModule, source: fx.Node, tail: Tail, walked: RecordedWalk) -> None:
    """Raises ModelError if the map does not grow with the input, because an earlier pooling makes a fixed grid."""
    size = walked.image.grid
    larger = size[0] + tail.stride[0], size[1] + tail.stride[1]
    fields = receptive_fields(up_to(made, source), larger, channels=walked.channels)
    height, width = fields.shapes[source.name][-2:]
    if height <= tail.window[0] or width <= tail.window[1]:
        raise ModelError(
            "the network's head cannot become convolutions: its last feature map does not grow with the input. It has "
            f"{width} x {height} cells at {size[0]} x {size[1]} and at {larger[0]} x {larger[1]} pixels. A network "
            "that pools over the whole map needs no conversion, see the method cam"
        )
