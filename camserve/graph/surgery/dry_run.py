"""Run a network once on an empty image, and record arguments, result and receptive fields of each node."""

from typing import Any

import torch
from torch import fx, nn
from torch.fx.node import map_aggregate

from camserve.errors import ModelError
from camserve.graph.receptive.rules import rule_of
from camserve.graph.receptive.step import NotKnown, Step
from camserve.graph.receptive.walk import Walk


class RecordedWalk(Walk):
    """A walk that records the arguments and result of each node.

    steps: for each call, its arguments and its result without their values; the name "" means an operation without a
    rule.
    """

    def __init__(self, graph: fx.GraphModule, input_size: tuple[int, int], channels: int = 3) -> None:
        super().__init__(graph, input_size, channels)
        self.steps: dict[fx.Node, Step] = {}

    def run_node(self, n: fx.Node) -> Any:
        """The node's result. Raises ModelError if the node fails at this size."""
        result = super().run_node(n)
        if n.op.startswith("call"):
            target = self.fetch_attr(str(n.target)) if n.op == "call_module" else n.target
            told = map_aggregate((*self.fetch_args_kwargs_from_env(n), result), _without_values)
            args, kwargs, results = told
            self.steps[n] = Step(_name(target), target, args, kwargs, [], results)
        return result

    def sources(self, node: fx.Node) -> list[fx.Node]:
        """The inputs of a node that depend on the image."""
        return [before for before in node.all_input_nodes if self.seen[before] is not None]

    def describe(self, node: fx.Node) -> str:
        """The node in words for an error: its path and its layer's class, or its name and its function."""
        if node not in self.steps:
            return f"'{node.name}'"
        target = self.steps[node].target
        if isinstance(target, nn.Module):
            return f"'{node.target}' ({type(target).__name__})"
        return f"'{node.name}' ({target if isinstance(target, str) else getattr(target, '__name__', target)})"


def walk(graph: fx.GraphModule, input_size: tuple[int, int], channels: int = 3) -> RecordedWalk:
    """Run `graph` on an empty image of (w, h) pixels, on the device of its parameters.

    Raises ModelError if it fails at this size or is not in eval mode.
    """
    for node in graph.graph.nodes:
        if node.op == "call_module" and graph.get_submodule(str(node.target)).training:
            raise ModelError(f"layer '{node.target}' is in training mode; call .eval() on the network first")
    walked = RecordedWalk(graph, input_size, channels)
    walked.run_empty()
    return walked


def _without_values(value: Any) -> Any:
    """A tensor with the same shape and type but without the values, which would take too much memory."""
    return value.new_empty(()).expand(value.shape) if isinstance(value, torch.Tensor) else value


def _name(target: Any) -> str:
    try:
        return rule_of(target)[0]
    except NotKnown:
        return ""
