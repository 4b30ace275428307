"""The graph of the user's network, images -> logits, and a way to watch the values of its nodes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from camserve.graph.original.given import Given
from camserve.graph.original.guard import difference
from camserve.graph.original.logits import answer_with_logits
from camserve.graph.original.probabilities import without_probabilities
from camserve.graph.trace import Untraceable, trace, without_dead_code


def graph_of(given: Given) -> fx.GraphModule:
    """The graph of the network, images -> logits. Raises Untraceable if there is no graph with the same answers."""
    graph = answer_with_logits(trace(given.module, given.keyword), given.part)
    graph = None if graph is None else without_probabilities(graph, given.kind)
    if graph is None:
        raise Untraceable("the traced graph does not show the logits")
    if given.dtype != torch.float32:
        _widen(graph)
    if given.is_binary:
        _give_both(graph)
    if given.writes:
        _keep_images(graph)
    without_dead_code(graph.eval())
    if missing := difference(given, graph, sizes=2):  # the cut halves are checked at the other sizes
        raise Untraceable(f"the traced graph is not the network: {missing}")
    return graph


def _widen(graph: fx.GraphModule) -> None:
    """Make the graph answer in float32."""
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    with graph.graph.inserting_before(output):
        output.args = (graph.graph.call_method("float", (output.args[0],)),)


def _give_both(graph: fx.GraphModule) -> None:
    """Put the negative of the single logit before it. A last linear layer is widened to give both."""
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    last = output.args[0]
    assert isinstance(last, fx.Node)  # as `answer_with_logits` leaves it
    layer = graph.get_submodule(str(last.target)) if last.op == "call_module" else None
    if isinstance(layer, nn.Linear):
        both, given = _linear(layer.weight, layer.bias), last.args[0]
    else:
        both, given = _linear(next(graph.parameters(), torch.ones(1)).new_ones(1, 1, dtype=torch.float32), None), last
    graph.add_submodule("both", both)
    with graph.graph.inserting_before(output):
        output.args = (graph.graph.call_module("both", (given,)),)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A layer with two outputs: the negative of the output of `weight` (1, K) and `bias`, and the output itself."""
    made = nn.Linear(weight.shape[1], 2, bias=bias is not None)
    made.weight = nn.Parameter(torch.cat([-weight, weight]), requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(torch.cat([-bias, bias]), requires_grad=False)
    return made


def _keep_images(graph: fx.GraphModule) -> None:
    """Make the graph write into a copy of its images."""
    image = next(iter(graph.graph.nodes))
    with graph.graph.inserting_after(image):
        own = graph.graph.call_method("clone", (image,))
    image.replace_all_uses_with(own, lambda user: user is not own)


class Watching(fx.Interpreter):
    """Runs a graph and shows the value of each node to `see`, which may return another value instead."""

    def __init__(self, graph: fx.GraphModule, see: Callable[[Any, Tensor], Tensor | None]) -> None:
        super().__init__(graph)
        self.extra_traceback = False
        self._see = see

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Use random weights for a linear layer of zeros (a new ViT's last), because zeros would hide everything."""
        layer = self.fetch_attr(target)
        if isinstance(layer, nn.Linear) and not layer.weight.any():
            generator = torch.Generator().manual_seed(2)
            weight = torch.randn(layer.weight.shape, generator=generator).to(args[0].device)
            return F.linear(args[0], weight)
        return super().call_module(target, args, kwargs)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.op in ("placeholder", "output", "get_attr") or not isinstance(value, Tensor):
            return value
        other = self._see(n, value)
        return value if other is None else other
