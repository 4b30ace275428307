"""A network whose graph is known: its layers, its two halves at a layer, and where cells lie."""

import math
import operator
from collections.abc import Collection
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from camserve.errors import ModelError, OptionError
from camserve.graph.cut import Cut, layer_names, node_of, shortest_names, split
from camserve.graph.given_graph import Watching, graph_of
from camserve.graph.layer_search import search as layer_search
from camserve.graph.layer_search.places import Found, See, places_of
from camserve.graph.layer_search.search import Choice
from camserve.graph.original.given import Given
from camserve.graph.original.guard import difference
from camserve.graph.receptive.walk import Fields, field_by_side, receptive_fields
from camserve.graph.surgery.dilation import dilate
from camserve.graph.surgery.linear import convolve_linear
from camserve.graph.tokens import turned
from camserve.graph.trace import Untraceable

_MEAN_OF_WINDOWS = (
    "this network was made for {} x {} pixels; at this size the scores are the mean over windows of that size, and "
    "they differ from the answer of the network itself"
)


class TracedNetwork:
    """A network whose graph is known.

    Fully connected layers over a flattened map become convolutions, and their scores are averaged over places. The
    logits at the training size stay the same, and any larger size works too. Raises Untraceable, ModelError.
    """

    def __init__(self, given: Given) -> None:
        self.given, self.size, self.classes = given, given.size, given.classes
        self.graph = graph_of(given)
        self._fields = self._walked(self.graph)
        self.is_extended = self._flattens_places() and self._convolve()

    def _walked(self, graph: fx.GraphModule) -> Fields:
        try:
            return receptive_fields(graph, self.size, channels=self.given.channels)
        except ModelError as error:
            raise Untraceable(str(error)) from None

    def _flattens_places(self) -> bool:
        """Whether a map of several cells is flattened to a vector, as before AlexNet's and VGG's linear layers."""
        shapes = self._fields.shapes
        for node in self.graph.graph.nodes:
            before = [shapes[other.name] for other in node.all_input_nodes]
            if len(shapes[node.name]) == 2 and before and len(before[0]) == 4 and before[0][-1] * before[0][-2] > 1:
                flattens = shapes[node.name][1] == before[0][1] * before[0][2] * before[0][3]
                if flattens:
                    return True
        return False

    def _convolve(self) -> bool:
        """Turn linear layers into convolutions if the answer at the training size stays the same. Returns whether."""
        try:
            graph = convolve_linear(self.graph, self.size, self.given.channels)
        except ModelError:  # not a plain chain of linear layers: the network keeps them and its size
            return False
        (output,) = (node for node in graph.graph.nodes if node.op == "output")
        with graph.graph.inserting_before(output):
            output.args = (graph.graph.call_method("mean", (output.args[0], (2, 3))),)
        graph.recompile()
        if difference(self.given, graph, sizes=1):
            return False
        self.graph, self._fields = graph, receptive_fields(graph, self.size, channels=self.given.channels)
        return True

    @property
    def whole(self) -> nn.Module:
        """images (N, c, H, W) -> logits (N, C), frozen; autograd works through it."""
        return self.graph

    @cached_property
    def takes_any_size(self) -> bool:
        """As found when the network was loaded; after linear layers became convolutions, as tried at a larger size."""
        if not self.is_extended:
            return self.given.takes_any_size
        try:
            larger = self.size[0] + 56, self.size[1] + 33
            receptive_fields(self.graph, larger, channels=self.given.channels)
        except ModelError:
            return False
        return True

    @property
    def multiple(self) -> int:
        """The sides of inputs must be multiples of this, pixels."""
        return 1 if self.is_extended else self.given.multiple

    def notes_at(self, size: tuple[int, int], layers: Collection[str]) -> tuple[str, ...]:
        """As in Network."""
        other = self.is_extended and size != self.size
        windows = (_MEAN_OF_WINDOWS.format(*self.size),) if other else ()
        return (*windows, *(self._choice.notes_at(layers) if layers else ()))

    @cached_property
    def _names(self) -> dict[fx.Node, str]:
        return shortest_names(self.graph)

    @cached_property
    def _nodes(self) -> dict[str, fx.Node]:
        return {name: node for node, name in self._names.items()}

    @cached_property
    def _places(self) -> dict[str, Found]:
        shapes = {name: self._fields.shapes[node.name] for name, node in self._nodes.items()}
        grids = {name: self._fields.grids[node.name] for name, node in self._nodes.items() if node.name in self._fields}
        return places_of(shapes, self.size, grids)

    def layers(self) -> dict[str, tuple[int, ...]]:
        """{name: shape (K, h, w) of its maps at the training size} of every layer that can be explained, in order."""
        names = layer_names(self.graph).items()
        own = self._names
        return {name: self._places[own[node]].shape for name, node in names if own.get(node) in self._places}

    @cached_property
    def _choice(self) -> Choice:
        choice = layer_search.find_layer(self, self._places)
        plainest = self._plainest(self._nodes[choice.found.name])
        return replace(choice, found=self._places[self._names[plainest]])

    def default_layer(self) -> str:
        """The last activation after which only pooling comes before the answer; see `layer_search`."""
        return self._choice.found.name

    def has_known_places(self, name: str) -> bool:
        """Whether the receptive field of this node is known, and attention has not mixed its places."""
        field = self._fields.get(self._nodes[name].name)
        return field is not None and not (field.global_context and self._attends)

    @cached_property
    def _attends(self) -> bool:
        names = {_name_of(node) for node in self.graph.graph.nodes}
        attention = any(isinstance(part, nn.MultiheadAttention | nn.Softmax) for part in self.graph.modules())
        return attention or not names.isdisjoint(("softmax", "scaled_dot_product_attention"))

    def is_linear(self, name: str) -> bool:
        """Whether this node calls a linear layer."""
        return self._is(self._nodes[name], nn.Linear, F.linear)

    def _plainest(self, node: fx.Node) -> fx.Node:
        """Go back from `node` over steps that only rearrange a map or prepare pooling, and a class map's ReLU."""
        while True:
            before = next((one for one in node.all_input_nodes if self._names.get(one) in self._places), None)
            prepares = node.op != "call_module" and _name_of(node) in _PREPARING
            is_class_map = self._places[self._names[node]].shape[0] == self.classes and not self._is_weighed(node)
            is_relu = self._is(node, nn.ReLU, F.relu) and is_class_map
            if before is None or not (prepares or is_relu) or not self._as_many(before, node):
                return node
            node = before

    def _is_weighed(self, node: fx.Node) -> bool:
        """Whether weights come after a node. Its channels are then not maps of classes, even if there are as many."""
        ahead, seen = list(node.users), set[fx.Node]()
        while ahead:
            user = ahead.pop()
            if self._is(user, *_WEIGHTS):
                return True
            if user not in seen:
                seen.add(user)
                ahead += user.users
        return False

    def _as_many(self, one: fx.Node, other: fx.Node) -> bool:
        return self._places[self._names[one]].shape == self._places[self._names[other]].shape

    def watch(self, images: Tensor, see: See) -> Tensor:
        """As in Network: shows every node that has a name, except poolings to a fixed grid."""

        def shown(node: fx.Node, value: Tensor) -> Tensor | None:
            hidden = node not in self._names or self._is(node, *_FIXED_GRID)
            return None if hidden else see(self._names[node], value)

        watching = Watching(self.graph, shown)
        with torch.enable_grad():
            logits: Tensor = watching.run(images)
        return logits.float()

    def cut(self, layer: str, output_stride: int | None = None) -> Cut:
        """The two halves at a layer. With output_stride, the graph is dilated first."""
        graph, node = self.graph, node_of(self.graph, layer)
        found, own = self._places.get(self._names.get(node, "")), self._fields.get(node.name)
        shape: tuple[int, ...] = self._fields.shapes[node.name]
        if found is not None and found.layout.kind != "first":
            graph, node = turned(graph, node, found.layout)
            shape = (1, *found.shape)
        if len(shape) != 4:
            raise OptionError(
                f"layer '{layer}' gives a tensor of shape {shape}, not feature maps (N, K, h, w) or tokens; try an "
                "earlier layer"
            )
        if output_stride is not None:
            graph = dilate(graph, output_stride, self.size, layer=node, channels=self.given.channels)
            node = node_of(graph, layer)
            shape = receptive_fields(graph, self.size, channels=self.given.channels).shapes[node.name]
        body, head = split(graph, node)
        known = {0: own} if graph is self.graph else {}
        period = 1 if own is None else math.lcm(*(int(step) for step in own.stride))
        field = field_by_side(graph, node.name, self.size, known, self.given.channels)
        return Cut(body, head, (shape[-1], shape[-2]), field, period)

    def _is(self, node: fx.Node, *kinds: object) -> bool:
        if node.op == "call_module":
            layer = self.graph.get_submodule(str(node.target))
            return isinstance(layer, tuple(kind for kind in kinds if isinstance(kind, type)))
        return node.target in kinds


_FIXED_GRID = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d)
_WEIGHTS = (nn.Linear, nn.Conv2d, nn.Bilinear, F.linear, F.conv2d, torch.matmul, operator.matmul)
# Steps that rearrange a map without changing its values, or raise it to a power before pooling (GeM).
_PREPARING = frozenset(
    [
        "flatten",
        "transpose",
        "permute",
        "reshape",
        "view",
        "contiguous",
        "getitem",
        "unflatten",
        "swapaxes",
        "movedim",
        "mT",
        "T",
        "getattr",
        "clone",
        "dropout",
        "float",
        "clamp",
        "pow",
        "cat",
        "concat",
        "concatenate",
    ]
)


def _name_of(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
