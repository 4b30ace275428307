"""A network whose graph is known: its layers, its two halves at one of them, and where cells lie."""

import math
from collections.abc import Callable
from functools import cached_property

import torch
from torch import fx, nn
from torch.nn import functional as F

from camserve.answers import answer_with_logits, logits_in
from camserve.cut import cut, find_layer, layer_names, shortest_name
from camserve.devices import noise, odd_size
from camserve.errors import ModelError, OptionError
from camserve.halves import Halves, Network
from camserve.hooked import HookedNetwork
from camserve.receptive import Field, Fields, receptive_fields
from camserve.surgery import convolve_linear, dilate
from camserve.tokens import last_as_first, last_that_matters, prefix_tokens, token_nodes, tokens_as_map
from camserve.trace import Untraceable, trace


def network_of(module: nn.Module, size: int) -> Network:
    """`module`, frozen and in evaluation mode, traced where torch.fx can, else hooked."""
    try:
        return TracedNetwork(module, size)
    except Untraceable:
        return HookedNetwork(module, size)


class TracedNetwork:
    """A network whose graph is known. size: side of the square input it was trained at, pixels.

    Fully connected layers over a flattened map become convolutions, whose scores are averaged over places: the same
    logits at `size`, and any larger size works too. Raises Untraceable, ModelError.
    """

    def __init__(self, module: nn.Module, size: int) -> None:
        self.size = size
        self._graph = answer_with_logits(trace(module).eval())
        self._fields = receptive_fields(self._graph, (size, size))
        if self._flattens_places():
            self._convolve()
        self._check_answer(module)

    def _check_answer(self, module: nn.Module) -> None:
        image = noise(module, self.size, self.size)
        with torch.no_grad():
            ours, theirs = self._graph(image), logits_in(module(image))
        if ours.ndim != 2:
            raise ModelError(f"the network answers with shape {tuple(ours.shape)}; a classifier gives (N, C)")
        if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * max(1.0, float(theirs.abs().max())), equal_nan=True):
            raise Untraceable("the traced graph answers differently from the network itself")
        self.classes = ours.shape[1]

    def _flattens_places(self) -> bool:
        """Whether a map of several cells goes into one vector, as before AlexNet's and VGG's linear layers."""
        shapes = self._fields.shapes
        for node in self._graph.graph.nodes:
            before = [shapes[other.name] for other in node.all_input_nodes]
            if len(shapes[node.name]) == 2 and before and len(before[0]) == 4 and before[0][-1] * before[0][-2] > 1:
                flattens = shapes[node.name][1] == before[0][1] * before[0][2] * before[0][3]
                if flattens:
                    return True
        return False

    def _convolve(self) -> None:
        try:
            graph = convolve_linear(self._graph, (self.size, self.size))
        except ModelError:  # no plain chain of linear layers: it stays as it is, at its own size
            return
        (output,) = (node for node in graph.graph.nodes if node.op == "output")
        with graph.graph.inserting_before(output):
            output.args = (graph.graph.call_method("mean", (output.args[0], (2, 3))),)
        graph.recompile()
        self._graph, self._fields = graph, receptive_fields(graph, (self.size, self.size))

    @property
    def whole(self) -> nn.Module:
        """images (N, 3, H, W) -> logits (N, C), frozen, through which autograd can go."""
        return self._graph

    @cached_property
    def takes_any_size(self) -> bool:
        """Tried, on an input that is neither square nor a multiple of the usual strides."""
        try:
            receptive_fields(self._graph, odd_size(self.size))
        except ModelError:
            return False
        return True

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Every layer that can be looked at, in order, with its maps (K, h, w) at the size trained at."""
        found = {}
        for name, node in layer_names(self._graph).items():
            shape, prefix = self._fields.shapes[node.name], self._prefix(node)
            if prefix is not None:
                found[name] = (shape[2], *reversed(self._patches))
            elif self._map_shape(node) is not None:
                found[name] = self._map_shape(node) or ()
        return found

    def default_layer(self) -> str:
        """The last feature map before pooling or flattening; in a transformer, the last tokens that matter."""
        patches = self._last_map
        tokens = token_nodes(self._graph, self._fields, patches)
        node = last_that_matters(self._graph, tokens, self.size) if tokens else None
        return shortest_name(self._graph, node or patches)

    def cut(self, layer: str, output_stride: int | None = None) -> Halves:
        """The two halves at a layer; with output_stride, from the graph dilated up to it."""
        graph, node = self._graph, find_layer(self._graph, layer)
        shape, prefix, own = self._fields.shapes[node.name], self._prefix(node), self._fields.get(node.name)
        if prefix is not None:
            graph, node = tokens_as_map(graph, node, prefix, self._patches)
            shape = (1, shape[2], *reversed(self._patches))
        elif self._map_shape(node) is not None and shape[2] != shape[3]:
            graph, node = last_as_first(graph, node)
            shape = (1, shape[3], shape[1], shape[2])
        if len(shape) != 4:
            raise OptionError(
                f"layer '{layer}' gives a tensor of shape {shape}, not feature maps (N, K, h, w); try one before"
            )
        if output_stride is not None:
            graph = dilate(graph, output_stride, (self.size, self.size), layer=node)
            node = find_layer(graph, layer)
            shape = receptive_fields(graph, (self.size, self.size)).shapes[node.name]
        halves = cut(graph, node)
        known = {self.size: own} if graph is self._graph else {}
        period = 1 if own is None else math.lcm(*(int(step) for step in own.stride))
        field = _fields_of(graph, node.name, known)
        return Halves(halves.body, halves.head, (shape[-1], shape[-2]), field, period)

    @cached_property
    def _last_map(self) -> fx.Node:
        """The last node that has places, before pooling to a fixed grid and before the ReLU of a class map."""
        known = [self._fields.grids[node] for node in self._fields]
        most_cells = min((math.prod(grid) for grid in known if math.prod(grid) > 1), default=self.size**2)
        for node in reversed(self._graph.graph.nodes):
            shape = self._map_shape(node)
            # attention's weights (heads, tokens, tokens) are square too, but finer than the maps they come from
            true_map = shape is not None and (node.name in self._fields or shape[1] * shape[2] <= most_cells)
            if shape is not None and true_map and not self._is(node, *_FIXED_GRID):
                return self._before_relu(node) if shape[0] == self._fields.shapes["output"][-1] else node
        raise ModelError("the network has no feature maps (N, K, h, w) with more than one cell; name a layer yourself")

    def _map_shape(self, node: fx.Node) -> tuple[int, int, int] | None:
        """(K, h, w) of a node that gives maps, channels first or last; the input is square, so most maps are."""
        shape = self._fields.shapes[node.name]
        if len(shape) != 4 or shape[0] != 1:
            return None
        if shape[2] == shape[3] > 1 or (self._fields.grids.get(node.name) == (shape[3], shape[2]) != (1, 1)):
            return shape[1], shape[2], shape[3]
        return (shape[3], shape[1], shape[2]) if shape[1] == shape[2] > 1 else None

    def _before_relu(self, node: fx.Node) -> fx.Node:
        """A class map is signed before its ReLU."""
        return node.all_input_nodes[0] if self._is(node, nn.ReLU, F.relu) else node

    @cached_property
    def _patches(self) -> tuple[int, int]:
        shape = self._map_shape(self._last_map)
        assert shape is not None
        return shape[2], shape[1]

    def _prefix(self, node: fx.Node) -> int | None:
        return prefix_tokens(self._fields.shapes[node.name], self._patches)

    def _is(self, node: fx.Node, *kinds: object) -> bool:
        if node.op == "call_module":
            layer = self._graph.get_submodule(str(node.target))
            return isinstance(layer, tuple(kind for kind in kinds if isinstance(kind, type)))
        return node.target in kinds


_FIXED_GRID = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d, nn.Dropout)


def _fields_of(graph: fx.GraphModule, node: str, kept: dict[int, Field | None]) -> Callable[[int], Field | None]:
    """The receptive field of a node by the side of the input, None where it is not known.

    Only SAME padding makes it depend on the size, and does so through the size modulo the stride: callers ask for few
    sizes, and each answer is kept. kept: those known already.
    """
    fixed = not any(hasattr(part, "same_padding") for part in graph.modules())

    def field(side: int) -> Field | None:
        if fixed and kept:
            return next(iter(kept.values()))
        if side not in kept:
            fields: Fields = receptive_fields(graph, (side, side))
            kept[side] = fields.get(node)
        return kept[side]

    return field
