"""How much depthwise separable convolutions save, compared with standard ones.

A depthwise convolution filters each channel separately; then a 1x1 convolution mixes the channels. Together they cost
h w (C Dk^2 + C N). One standard convolution of the same kernel, stride and channels costs h w C N Dk^2. The ratio is
1/N + 1/Dk^2: Howard et al., MobileNets (arXiv:1704.04861), section 3.1.
"""

from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from camserve.graph.receptive.walk import Fields
from camserve.models.inspection.cost import multiply_adds
from camserve.models.inspection.layer_costs import operations
from camserve.models.inspection.operation import Operation, Shape, convolution
from camserve.models.inspection.operation_names import only_follows


@dataclass(frozen=True)
class Separable:
    """A depthwise convolution and the 1x1 convolution that mixes its channels.

    depthwise, pointwise: their names. kernel: (kh, kw). inputs, outputs: channels. macs: of the two; standard_macs: of
    one standard convolution instead.
    """

    depthwise: str
    pointwise: str
    kernel: Shape
    inputs: int
    outputs: int
    macs: int
    standard_macs: int

    @property
    def ratio(self) -> float:
        """Cost relative to a standard convolution: 1/N + 1/(kh kw) with one filter per channel."""
        return self.macs / self.standard_macs

    def to_dict(self) -> dict[str, Any]:
        """As values for JSON."""
        return {**vars(self), "kernel": list(self.kernel), "ratio": self.ratio}


def find_separable(graph: fx.GraphModule, fields: Fields) -> tuple[Separable, ...]:
    """Every depthwise convolution that is followed by exactly one 1x1 convolution, in the order of the graph.

    Norms, activations and gates such as squeeze-excitation may be between the two. A linear layer over the
    channels of each place, as in ConvNeXt, is a 1x1 convolution.
    """
    by_node = {operation.node: operation for operation in operations(graph, fields)}
    found = (_pair(operation, by_node) for operation in by_node.values())
    return tuple(pair for pair in found if pair is not None)


def _pair(operation: Operation, by_node: dict[fx.Node, Operation]) -> Separable | None:
    made = convolution(operation)
    if made is None or not made.depthwise or made.transposed or len(made.kernel) != 2:
        return None
    mixers = [after for after in _next_ones(operation, by_node) if _mixes_channels(after)]
    if len(mixers) != 1:
        return None
    (pointwise,) = mixers
    outputs = pointwise.output[-1] if _is_linear(pointwise) else pointwise.output[1]
    places = operation.output[-2] * operation.output[-1]
    standard = places * made.inputs * outputs * made.kernel[0] * made.kernel[1]
    macs = (multiply_adds(operation) or 0) + (multiply_adds(pointwise) or 0)
    return Separable(operation.path, pointwise.path, made.kernel, made.inputs, outputs, macs, standard)


def _next_ones(operation: Operation, by_node: dict[fx.Node, Operation]) -> list[Operation]:
    """The operations that read the operation's channels; norms, activations and gates may be between."""
    found, waiting, seen = [], list(operation.node.users), set[fx.Node]()
    while waiting:
        node = waiting.pop(0)
        after = by_node.get(node)
        if node in seen or after is None:
            continue
        seen.add(node)
        if only_follows(after):
            waiting.extend(node.users)
        else:
            found.append(after)
    return found


def _mixes_channels(operation: Operation) -> bool:
    made = convolution(operation)
    return made.pointwise if made is not None else _is_linear(operation) and len(operation.output) == 4


def _is_linear(operation: Operation) -> bool:
    return isinstance(operation.layer, nn.Linear) or (operation.layer is None and operation.name == "linear")
