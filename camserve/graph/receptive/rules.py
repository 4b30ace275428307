"""How each kind of operation changes the receptive fields: one rule for each kind, in RULES by name.

A rule takes a Step and returns the Seen of its output. An operation without a rule raises NotKnown; nothing is guessed.
There are two conventions for cells that lose their place. An operation that mixes cells (attention, a mean) gives the
field global context, so that its box is the whole image. A tensor whose cells left the grid (tokens, windows) is back
in the grid only if it becomes (N, C, h, w) with the same h and w again.
"""

import math
import types
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from torch import nn

from camserve.geometry.receptive_field import Window
from camserve.graph.receptive.moves import moved, reshaped
from camserve.graph.receptive.step import NotKnown, Seen, Step

Rule = Callable[[Step], Any]
Pair = tuple[int, int]

_STAY = Window(1, 0, 0)


def rule_of(target: Any) -> tuple[str, Rule]:
    """The name of a layer, function or method and its rule. Raises NotKnown."""
    label, name, known = _layer(target) if isinstance(target, nn.Module) else _function(target)
    if not known:
        raise NotKnown(f"camserve does not know which cells the operation {label} takes")
    return name, RULES[name]


def _layer(layer: nn.Module) -> tuple[str, str, bool]:
    """A subclass follows the rule of torch's own class if it inherits its forward."""
    label, own = type(layer).__name__, type(layer)
    bases = [kind for kind in own.__mro__ if kind.__module__.startswith("torch") and kind.__name__ in RULES]
    if not bases:
        return label, label, False
    inherits = getattr(own, "forward", None) is getattr(bases[0], "forward", None)
    # a convolution with its own forward is allowed, because _check_cells checks its grid
    return label, bases[0].__name__, inherits or bases[0] is nn.Conv2d or hasattr(layer, "same_padding")


def _function(target: Any) -> tuple[str, str, bool]:
    """A function or method, in place or not. Functions of users are not known, because their names prove nothing."""
    label = target if isinstance(target, str) else getattr(target, "__name__", repr(target))
    name = label if label.startswith("_") else label.rstrip("_")
    foreign = isinstance(target, types.FunctionType) and not target.__module__.startswith("torch")
    return label, name, name in RULES and not foreign


def _joined(step: Step) -> Seen:
    """Element by element: the union of the fields of all inputs. A broadcast input affects every cell."""
    placed = [seen for seen in step.seen if seen.axes] or step.seen
    axes = placed[0].axes
    grid = max((seen.grid for seen in placed), key=math.prod)
    if axes:
        grid = step.result.shape[axes[0]], step.result.shape[axes[1]]
    full = [seen for seen in placed if (seen.axes, seen.grid) == (axes, grid)]
    if not full:
        raise NotKnown(f"the result of {step.name} has another grid than its inputs")
    field = full[0].field
    for seen in full[1:]:
        field = field.join(seen.field, grid)
    for seen in step.seen:
        field = field if seen in full else field.informed_by(seen.everywhere().field)
    return Seen(field, grid, axes)


def _concatenated(step: Step) -> Seen:
    dims = set(step.dims(step.result.ndim, default=0))
    if any(dims & set(seen.axes or ()) for seen in step.seen):
        raise NotKnown(f"{step.name} joins maps along x or y")
    return _joined(step)


def _windowed(step: Step) -> Seen:
    """Convolutions and pools."""
    if step.axes() != (-1, -2) or len(step.seen) > 1 or step.option("padding_mode", "zeros") != "zeros":
        raise NotKnown(f"{step.name} is not a fixed window over (N, C, h, w) with padding by zeros")
    kernel = _pair(step.option("kernel_size") or step.option("weight").shape[-2:])
    stride = _pair(step.option("stride") or (1 if "conv" in step.name.lower() else kernel))
    dilation = _pair(step.option("dilation", 1))
    reach = dilation[0] * (kernel[0] - 1), dilation[1] * (kernel[1] - 1)
    paddings = _paddings(step, reach)
    _check_cells(step, reach, stride, paddings)
    down, across = (Window(stride[i], -paddings[i][0], reach[i] - paddings[i][0]) for i in (0, 1))
    return step.seen[0].through(across, down, step.result.shape)


def _paddings(step: Step, reach: Pair) -> tuple[Pair, Pair]:
    """The numbers of zeros (before, after) along y, then along x, in torch's order."""
    if hasattr(step.target, "same_padding"):
        left, right, top, bottom = step.target.same_padding(*step.value.shape[-2:])
        return (top, bottom), (left, right)
    padding = step.option("padding", 0)
    if padding == "same":
        return (reach[0] // 2, (reach[0] + 1) // 2), (reach[1] // 2, (reach[1] + 1) // 2)
    down, across = _pair(0 if padding == "valid" else padding)
    return (down, down), (across, across)


def _check_cells(step: Step, reach: Pair, stride: Pair, paddings: tuple[Pair, Pair]) -> None:
    """Raises NotKnown if the grid shows that a layer pads in its own way, as many do for TensorFlow's SAME."""
    ceil = bool(step.option("ceil_mode", False))
    for i, (before, after) in enumerate(paddings):
        inside = step.value.shape[i - 2] + before
        span = inside + after - reach[i] - 1
        cells = (span + (stride[i] - 1) * ceil) // stride[i] + 1
        cells -= ceil and (cells - 1) * stride[i] >= inside
        if cells != step.result.shape[i - 2]:
            given, label = step.result.shape[i - 2], type(step.target).__name__
            raise NotKnown(
                f"{label} gives {given} cells, but its stride and padding mean {cells}; give it a method "
                "same_padding(height, width) -> (left, right, top, bottom)"
            )


def _padded(step: Step) -> Seen:
    """Padding with zeros; negative padding removes cells."""
    pad = step.option("padding" if isinstance(step.target, nn.Module) else "pad")
    if hasattr(step.target, "same_padding"):
        pad = step.target.same_padding(*step.value.shape[-2:])
    if step.option("mode", "constant") != "constant":
        raise NotKnown(f"{step.name} repeats cells of the map outside its edge")
    before = [pad[-2 * axis - 2] if -2 * axis - 2 < len(pad) else 0 for axis in step.axes()]
    x, y = (Window(1, -cells, -cells) for cells in before)
    return step.seen[0].through(x, y, step.result.shape)


def _resampled(step: Step) -> Seen:
    """Adaptive pooling with equal windows."""
    seen, sizes = step.seen[0], []
    for axis, cells in zip(step.axes(), step.seen[0].grid, strict=True):
        after = step.result.shape[axis]
        if cells % after:
            raise NotKnown(f"{step.name} from {cells} to {after} cells has windows of different sizes")
        sizes.append(cells // after)
    x, y = (Window(size, 0, size - 1) for size in sizes)
    to_one = any(size == cells > 1 for size, cells in zip(sizes, seen.grid, strict=True))
    return (seen.everywhere() if to_one else seen).through(x, y, step.result.shape)


def _reduced(step: Step) -> Seen:
    """A mean, sum or maximum along some dimensions."""
    seen, ndim = step.seen[0], step.value.ndim
    if seen.axes is None:
        return seen
    dims, kept = step.dims(ndim), step.result.ndim == ndim
    over = [axis in dims for axis in seen.axes]
    x, y = (Window(n, 0, n - 1) if gone else _STAY for n, gone in zip(seen.grid, over, strict=True))
    width, height = (1 if gone else n for n, gone in zip(seen.grid, over, strict=True))
    field = (seen.everywhere() if any(over) else seen).field.through(x, y, seen.grid)
    if any(over) and not kept:
        return Seen(field, (width, height), None)
    across, down = (axis + sum(dim > axis for dim in dims) * (not kept) for axis in seen.axes)
    return Seen(field, (width, height), (across, down))


def _along(step: Step) -> Seen:
    """Softmax and similar operations, which mix all values along a dimension."""
    return _meeting(step, step.dims(step.value.ndim))


def _layer_norm(step: Step) -> Seen:
    return _meeting(step, [-1 - place for place in range(len(step.option("normalized_shape")))])


def _meeting(step: Step, dims: list[int]) -> Seen:
    seen = step.seen[0]
    return seen.everywhere() if set(dims) & set(seen.axes or ()) else seen


def _linear(step: Step) -> Seen:
    """A linear layer along the last dimension: it mixes channels if they are last, else cells."""
    over_cells = len(step.seen) > 1 or -1 in (step.seen[0].axes or ())
    return _mixed(step) if over_cells else step.seen[0]


def _mixed(step: Step) -> Seen:
    """Products of tensors and attention: they may mix all cells, in any order."""
    return _joined(replace(step, seen=[replace(seen, axes=None) for seen in step.seen]))


def _mixed_in_place(step: Step) -> Seen:
    """Attention or statistics over the map that leave each cell in its place."""
    return step.seen[0].everywhere()


def _merged_patches(step: Step) -> Seen:
    """Swin's patch merging: 2 x 2 cells of (N, h, w, C) become the channels of one cell; odd sizes are padded."""
    step.axes()
    return step.seen[0].through(Window(2, 0, 1), Window(2, 0, 1), step.result.shape)


def _pair(given: Any) -> Pair:
    """(y, x), in torch's order, from one number for both or from two numbers."""
    values = tuple(given) if isinstance(given, Iterable) else (given,)
    return values[0], values[-1]


def _table(*rules: tuple[Rule, str]) -> dict[str, Rule]:
    return {name: rule for rule, names in rules for name in names.split()}


RULES: dict[str, Rule] = _table(
    (_windowed, "Conv2d conv2d MaxPool2d max_pool2d AvgPool2d avg_pool2d"),
    (_padded, "ZeroPad2d ConstantPad2d pad"),
    (_resampled, "AdaptiveAvgPool2d AdaptiveMaxPool2d adaptive_avg_pool2d adaptive_max_pool2d"),
    (_reduced, "mean sum amax amin"),
    (_concatenated, "cat concat concatenate"),
    (reshaped, "view reshape flatten unflatten squeeze unsqueeze Flatten Unflatten"),
    (moved, "permute transpose swapaxes swapdims movedim getitem chunk split unbind narrow select"),
    (moved, "expand expand_as"),
    (_along, "Softmax LogSoftmax Softmin softmax log_softmax softmin normalize"),
    (_layer_norm, "LayerNorm layer_norm"),
    (_linear, "Linear linear"),
    (_mixed, "matmul bmm baddbmm einsum scaled_dot_product_attention MultiheadAttention"),
    (_mixed_in_place, "GroupNorm InstanceNorm2d group_norm instance_norm shifted_window_attention"),
    (_merged_patches, "_patch_merging_pad"),
    (
        _joined,
        "Threshold ReLU RReLU Hardtanh ReLU6 Sigmoid Hardsigmoid Tanh SiLU Mish Hardswish ELU CELU SELU",
    ),
    (_joined, "GELU Hardshrink LeakyReLU LogSigmoid Softplus Softshrink PReLU Softsign Tanhshrink Softmax2d"),
    (
        _joined,
        "threshold relu rrelu hardtanh relu6 sigmoid hardsigmoid tanh silu mish hardswish elu celu selu",
    ),
    (_joined, "gelu hardshrink leaky_relu logsigmoid softplus softshrink prelu softsign tanhshrink"),
    # batch normalisation in evaluation mode, with the statistics of the training
    (_joined, "BatchNorm2d BatchNorm1d SyncBatchNorm batch_norm"),
    # over channels, separately for each place
    (_joined, "LayerNorm2d LocalResponseNorm local_response_norm ChannelShuffle channel_shuffle"),
    (_joined, "Identity Dropout Dropout2d AlphaDropout FeatureAlphaDropout dropout dropout2d alpha_dropout"),
    (_joined, "stochastic_depth contiguous clone detach to float half bfloat16 double type type_as"),
    (_joined, "add iadd sub isub mul imul truediv itruediv div neg pow square sqrt rsqrt exp log abs sign"),
    (_joined, "clamp clip maximum minimum where lerp addcmul"),
)
