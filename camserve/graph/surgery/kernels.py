"""Convert a convolution, pooling or padding for a denser lattice: stride becomes dilation.

A dense map D contains the original map O on a lattice: D[..., ::f, ::f] = O. A window with dilation d and padding
p on O takes the same values from D with dilation d f and padding p f. If its stride changes from s to t, its output is
f s / t times denser. The size of O is always ceil(size of D / f), so cells outside the edge of O are also outside the
edge of D, and zeros stay zeros. SAME padding and ceil_mode depend on the size of O, which they compute from that of D.
"""

from dataclasses import dataclass
from typing import Any

from torch import fx, nn
from torch.nn import functional as F

from camserve.errors import ModelError
from camserve.graph.receptive.step import Step
from camserve.graph.surgery.replacements import LatticeConv2d, LatticePad2d, SlidingLinear
from camserve.graph.surgery.twin import put, variant

Pair = tuple[int, int]  # (y, x), torch's order

_CONV2D = ["input", "weight", "bias", "stride", "padding", "dilation", "groups"]
_OWN_FORWARD = (nn.Conv2d.forward, SlidingLinear.forward)


@dataclass(frozen=True)
class Onto:
    """The new lattice of a window. factor: how much denser its input is; stride: its new stride."""

    factor: Pair
    stride: Pair

    def scaled(self, cells: Any) -> Pair:
        """A distance on the original lattice, one number or (y, x), in cells of the dense map."""
        down, across = pair(cells)
        return down * self.factor[0], across * self.factor[1]


def pair(given: Any) -> Pair:
    """(y, x) from one number for both or from two numbers."""
    return (given, given) if isinstance(given, int) else (given[0], given[-1])


def kernel_of(step: Step) -> Pair:
    """The window of a convolution or pooling."""
    return pair(step.option("kernel_size") or tuple(step.option("weight").shape[-2:]))


def stride_of(step: Step) -> Pair:
    """The stride of a convolution or pooling; by default, a pooling's stride is its kernel size."""
    return pair(step.option("stride") or (1 if "conv" in step.name.lower() else kernel_of(step)))


def place_convolution(made: fx.GraphModule, node: fx.Node, step: Step, onto: Onto) -> None:
    """Rewrite `node`, a convolution that did `step`. Raises ModelError if its forward is not torch's."""
    layer = step.target
    if hasattr(layer, "same_padding"):
        put(made, node, LatticeConv2d(layer, factor=onto.factor, stride=onto.stride), node.all_input_nodes[0])
        return
    if isinstance(layer, nn.Module) and type(layer).forward not in _OWN_FORWARD:
        raise ModelError(
            f"{type(layer).__name__} has its own forward, so camserve does not know how to dilate it; if it only adds "
            "padding, give it a method same_padding(height, width) -> (left, right, top, bottom)"
        )
    changed = {
        "stride": onto.stride,
        "dilation": onto.scaled(step.option("dilation", 1)),
        "padding": _convolution_padding(made, node, step, onto),
    }
    if isinstance(layer, nn.Module):
        put(made, node, variant(layer, **changed), node.all_input_nodes[0])
    else:
        given = dict(zip(_CONV2D, node.args, strict=False)) | node.kwargs | changed
        node.args, node.kwargs = (given.pop("input"), given.pop("weight")), given


def _convolution_padding(made: fx.GraphModule, node: fx.Node, step: Step, onto: Onto) -> Pair:
    """Padding in dense cells. For "same" and an even kernel, an extra node pads one cell more after than before."""
    padding = step.option("padding", 0)
    if padding == "valid":
        return 0, 0
    if padding != "same":
        return onto.scaled(padding)
    kernel, dilation = kernel_of(step), pair(step.option("dilation", 1))
    reach = dilation[0] * (kernel[0] - 1), dilation[1] * (kernel[1] - 1)
    before, after = (
        onto.scaled((reach[0] // 2, reach[1] // 2)),
        onto.scaled(((reach[0] + 1) // 2, (reach[1] + 1) // 2)),
    )
    if before == after:
        return before
    pad_input(made, node, (before[1], after[1], before[0], after[0]))
    return 0, 0


def pad_input(made: fx.GraphModule, node: fx.Node, edges: Any, value: float = 0) -> None:
    """Pad the first input of `node`; edges: (left, right, top, bottom), or a node that gives them."""
    source = node.all_input_nodes[0]
    with made.graph.inserting_before(node):
        padded = made.graph.call_function(F.pad, (source, edges), {"value": value})
    node.replace_input_with(source, padded)


def place_padding(made: fx.GraphModule, node: fx.Node, step: Step, onto: Onto) -> None:
    """Rewrite `node`, a padding by a constant: it pads the same number of cells of the original lattice as before."""
    layer = step.target
    if hasattr(layer, "same_padding"):
        put(made, node, LatticePad2d(layer, onto.factor), node.all_input_nodes[0])
        return
    edges = step.option("padding" if isinstance(layer, nn.Module) else "pad")
    across, down = (edge * onto.factor[1] for edge in edges[:2]), (edge * onto.factor[0] for edge in edges[2:4])
    scaled = (*across, *down, *edges[4:])
    if isinstance(layer, nn.Module):
        put(made, node, variant(layer, padding=scaled), node.all_input_nodes[0])
    else:
        node.kwargs = {"pad": scaled, "mode": "constant", "value": step.option("value")}
        node.args = (node.all_input_nodes[0],)
