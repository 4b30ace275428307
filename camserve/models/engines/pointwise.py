"""1 x 1 convolutions as matrix products, for autograd: with channels last, a map is a matrix of places by channels.

On one thread torch computes such convolutions slowly, and first fills their gradients with zeros.
"""

from torch import Tensor, fx, nn
from torch.nn import functional as F

from camserve.graph.trace import Graph


class Pointwise(nn.Module):
    """A 1 x 1 convolution as a matrix product, with the same weights."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, input: Tensor) -> Tensor:
        """(N, K, H, W) -> (N, L, H, W), channels last."""
        return F.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


def with_matrices(body: fx.GraphModule) -> fx.GraphModule:
    """The body with matrix products instead of its 1 x 1 convolutions; equal to float precision.

    It shares the weights of `body`, which is not changed.
    """
    graph = fx.Graph()
    graph.output(graph.graph_copy(body.graph, {}))
    made = Graph(body, graph)
    for node in made.graph.nodes:
        if node.op == "call_module" and _is_pointwise(part := made.get_submodule(str(node.target))):
            made.add_submodule(str(node.target), Pointwise(part))  # type: ignore[arg-type]
    made.recompile()
    return made


def _is_pointwise(part: nn.Module) -> bool:
    """Whether a module is just a 1 x 1 convolution with ordinary weights."""
    if not isinstance(part, nn.Conv2d) or part._forward_hooks or part._forward_pre_hooks:
        return False
    is_plain = type(part) is nn.Conv2d or callable(getattr(part, "same_padding", None))  # which then only pads
    has_weights = isinstance(part._parameters.get("weight"), nn.Parameter) and not hasattr(part, "parametrizations")
    is_single = part.kernel_size == part.stride == (1, 1) and part.groups == 1
    return is_plain and has_weights and is_single and part.padding in ((0, 0), "valid", "same")
