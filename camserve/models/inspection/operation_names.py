"""Names of operations, in words: "3x3 convolution /2", "batch norm", "global average pool"."""

from typing import Any, NamedTuple

from torch import nn

from camserve.models.inspection.operation import Convolution, Operation, Shape, convolution


class Kind(NamedTuple):
    """full: alone. short: in a row with others; "" for followers, such as norms and activations."""

    full: str
    short: str = ""


def kind_of(operation: Operation) -> Kind:
    """The name of the operation in words, or its own name if there is no better one."""
    name = operation.name
    if operation.node.op == "get_attr":
        return Kind("parameter")
    made = convolution(operation)
    if made is not None:
        return _convolution(made)
    if "pool" in name.lower():
        return _pool(operation)
    if name == "mean" and len(operation.shape()) == 4 and len(operation.output) < 4:
        return Kind("global average pool", "global average pool")
    if name in _NOTED:
        return Kind(_NOTED[name], _NOTED[name])
    return Kind(_FOLLOWING.get(name) or _ACTIVATIONS.get(name.lower()) or name.strip("_").replace("_", " "))


def only_follows(operation: Operation) -> bool:
    """Whether it only normalises, activates, scales or permutes its input, and does not mix channels."""
    kind = _FOLLOWING.get(operation.name, "")
    by_channel = kind.endswith(("norm", "dropout", "identity")) or operation.name.lower() in _ACTIVATIONS
    return by_channel or operation.name in ("mul", "imul", "permute", "stochastic_depth")


def _convolution(made: Convolution) -> Kind:
    size, step = _by(made.kernel), f" /{_factor(made.stride)}" if max(made.stride) > 1 else ""
    after = f", dilation {_factor(made.dilation)}" if max(made.dilation) > 1 else ""
    if made.depthwise:
        return Kind(f"depthwise {size}{step}{after}", f"depthwise {size}{step}")
    if made.transposed:
        return Kind(f"transposed {size} convolution{step}{after}", f"transposed {size}{step}")
    groups = f" in {made.groups} groups" if made.groups > 1 else ""
    return Kind(f"{size} convolution{step}{groups}{after}", f"{size}{step}{groups}")


def _pool(operation: Operation) -> Kind:
    name, cells = operation.name.lower(), operation.output[-2:]
    what = "max pool" if "max" in name else "average pool"
    kernel, stride = _sides(operation.option("kernel_size", 1)), _sides(operation.option("stride", 2))
    if kernel and "adaptive" not in name:
        step = stride or kernel
        words = f"{what} {_by(kernel)}" + (f" /{_factor(step)}" if max(step) > 1 else "")
    else:  # it adapts to the size, or the network computes its kernel
        words = f"global {what}" if set(cells) == {1} else f"{what} to {_by(cells)}"
    return Kind(words, words)


def _sides(given: Any) -> Shape:
    """One number or two, as two; () if the network computes them."""
    sides = (given, given) if isinstance(given, int) else given
    return tuple(sides) if isinstance(sides, tuple | list) and all(isinstance(side, int) for side in sides) else ()


def _by(sizes: Shape) -> str:
    return "x".join(map(str, sizes))


def _factor(sizes: Shape) -> str:
    """A stride or dilation: one number if it is the same along every dimension."""
    return str(sizes[0]) if len(set(sizes)) == 1 else _by(sizes)


_NOTED = {
    name: words
    for words, names in {
        "linear": "Linear NonDynamicallyQuantizableLinear linear",
        "attention": "MultiheadAttention scaled_dot_product_attention",
        "window attention": "shifted_window_attention",
        "matrix product": "matmul bmm mm einsum baddbmm addmm",
        "add": "add iadd",
        "subtract": "sub isub",
        "multiply": "mul imul",
        "concatenate": "cat concat concatenate",
        "resize": "interpolate Upsample",
        "merge patches": "_patch_merging_pad",
    }.items()
    for name in names.split()
}
_FOLLOWING = {
    name: words
    for words, names in {
        "batch norm": "BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm batch_norm",
        "layer norm": "LayerNorm layer_norm",
        "group norm": "GroupNorm group_norm",
        "instance norm": "InstanceNorm2d instance_norm",
        "local response norm": "LocalResponseNorm local_response_norm",
        "dropout": "Dropout Dropout1d Dropout2d dropout dropout2d",
        "flatten": "Flatten flatten",
        "reshape": "view reshape Unflatten unflatten",
        "identity": "Identity",
        "pad": "ZeroPad2d ConstantPad2d ReflectionPad2d pad",
        "position bias": "_get_relative_position_bias",
    }.items()
    for name in names.split()
}
# F.relu, "relu" and nn.ReLU have one name
_ACTIVATIONS = {name.lower(): name for name in nn.modules.activation.__all__}
