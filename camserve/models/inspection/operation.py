"""One operation of a traced network, with the facts that its cost and its name need."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

Shape = tuple[int, ...]

# Positions of the parameters of F.conv2d and F.conv_transpose2d, also in other dimensions.
_CONVOLUTION = {"stride": 3, "dilation": 5, "groups": 6}
_TRANSPOSED = {"stride": 3, "groups": 6, "dilation": 7}


@dataclass(frozen=True)
class Operation:
    """A node of the graph.

    layer: the module if it is one, None for a function or method. shapes: of every node's output, by name.
    """

    node: fx.Node
    layer: nn.Module | None
    shapes: Mapping[str, Shape]

    @property
    def name(self) -> str:
        """ "Conv2d", "relu", "add": torch's own class for a subclass, no underscore for an in-place function."""
        if self.layer is not None:
            bases = type(self.layer).__mro__
            own = (base.__name__ for base in bases if base.__module__.startswith("torch.nn.modules"))
            return next(own, type(self.layer).__name__)
        target = self.node.target
        label = target if isinstance(target, str) else getattr(target, "__name__", repr(target))
        return label if label.startswith("_") else label.rstrip("_")

    @property
    def path(self) -> str:
        """Its name for `--layer`: the path of a module or parameter, or the node of a function."""
        return self.node.name if self.node.op in ("call_function", "call_method") else str(self.node.target)

    @property
    def output(self) -> Shape:
        """The shape of the output, () if it is not a tensor. Attention returns two: the first has its query's shape."""
        attention = isinstance(self.layer, nn.MultiheadAttention)
        return self.shapes.get(self.node.name) or (self.shape(0, "query") if attention else ())

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """The argument at that position or with that name."""
        return self.node.args[place] if place < len(self.node.args) else self.node.kwargs.get(name, default)

    def shape(self, place: int = 0, name: str = "input") -> Shape:
        """The shape of a tensor argument, () if there is none."""
        given = self.argument(place, name)
        return self.shapes.get(given.name, ()) if isinstance(given, fx.Node) else ()

    def option(self, name: str, place: int, default: Any = None) -> Any:
        """A layer's attribute, or a function's argument."""
        if self.layer is not None:
            return getattr(self.layer, name, default)
        return self.argument(place, name, default)


@dataclass(frozen=True)
class Convolution:
    """The parameters of a convolution. weight: (outputs, inputs / groups, *kernel), as if it were not transposed."""

    inputs: int
    outputs: int
    kernel: Shape
    stride: Shape
    dilation: Shape
    groups: int
    transposed: bool = False

    @property
    def depthwise(self) -> bool:
        """Whether each input channel has its own filters, larger than 1 x 1."""
        return self.groups == self.inputs > 1 and max(self.kernel) > 1

    @property
    def pointwise(self) -> bool:
        """Whether it mixes the channels of each place separately."""
        return max(self.kernel) == max(self.stride) == self.groups == 1


def convolution(operation: Operation) -> Convolution | None:
    """The operation as a convolution, layer or function, of 1 to 3 dimensions.

    None if it is not one, or if the network computes its stride, dilation or groups.
    """
    layer, name = operation.layer, operation.name
    transposed = isinstance(layer, _ConvTransposeNd) or name.startswith("conv_transpose")
    if isinstance(layer, _ConvNd):
        shape, groups = tuple(layer.weight.shape), layer.groups
    elif layer is None and name.startswith(("conv1d", "conv2d", "conv3d", "conv_transpose")):
        shape = operation.shape(1, "weight")
        groups = operation.option("groups", _CONVOLUTION["groups"], 1)
    else:
        return None
    places = _TRANSPOSED if transposed else _CONVOLUTION
    stride, dilation = (operation.option(key, places[key], 1) for key in ("stride", "dilation"))
    first, second, *kernel = shape
    if not isinstance(groups, int) or isinstance(stride, fx.Node) or isinstance(dilation, fx.Node):
        return None
    inputs, outputs = (first, second * groups) if transposed else (second * groups, first)
    steps = _each(stride, len(kernel)), _each(dilation, len(kernel))
    return Convolution(inputs, outputs, tuple(kernel), *steps, groups, transposed)


def _each(given: Any, dimensions: int) -> Shape:
    """One value for each dimension; a single value is repeated."""
    values = tuple(given) if isinstance(given, Iterable) else (given,)
    return values if len(values) == dimensions else values[:1] * dimensions
