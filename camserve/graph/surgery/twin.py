"""A second graph with the same modules, and changes to it."""

import copy
from typing import Any, TypeVar

import torch
from torch import fx, nn

from camserve.graph.trace import Graph, without_dead_code

M = TypeVar("M", bound=nn.Module)


def twin(graph: fx.GraphModule) -> tuple[fx.GraphModule, dict[fx.Node, fx.Node]]:
    """A copy of `graph` that shares all modules with it, and {node of `graph`: its copy}."""
    nodes: dict[fx.Node, fx.Node] = {}
    copied = fx.Graph()
    copied.output(copied.graph_copy(graph.graph, nodes))
    made = Graph(graph, copied)
    shared = set(graph.modules())
    for module in made.modules():
        if module not in shared:  # torch creates the containers of the new graph in training mode
            module.training = False
    return made, nodes


def put(made: fx.GraphModule, node: fx.Node, layer: nn.Module, *args: Any) -> None:
    """Let `node` call `layer` on `args`. It keeps its name, and its path unless other nodes use that path."""
    sharing = [other for other in made.graph.nodes if other.op == "call_module" and other.target == node.target]
    target = str(node.target) if sharing == [node] else f"surgery_{node.name}"
    made.add_submodule(target, layer.eval())
    node.op, node.target, node.args, node.kwargs = "call_module", target, args, {}


def insert(made: fx.GraphModule, before: fx.Node, layer: nn.Module, *args: Any) -> fx.Node:
    """Insert a node before `before` that calls `layer` on `args`, and return it."""
    target = f"surgery_{before.name}"
    made.add_submodule(target, layer.eval())
    with made.graph.inserting_before(before):
        return made.graph.call_module(target, args)


def finish(made: fx.GraphModule) -> fx.GraphModule:
    """Compile the code of `made` again, and remove modules that it no longer calls."""
    made.graph.lint()
    made.delete_all_unused_submodules()
    made.recompile()
    return made


def up_to(graph: fx.GraphModule, node: fx.Node) -> fx.GraphModule:
    """The part of the graph that ends at `node`. The rest may fail or take too much time."""
    body, copies = twin(graph)
    (output,) = body.graph.find_nodes(op="output")
    output.args = (copies[node],)
    without_dead_code(body)
    return finish(body)


def variant(layer: M, **changed: Any) -> M:
    """A copy of a layer that shares its parameters and has some other attributes."""
    made = copy.copy(layer)
    made.__dict__ = {name: copy.copy(v) if isinstance(v, dict) else v for name, v in vars(layer).items()}
    for name, value in changed.items():
        setattr(made, name, value)
    return made


def shared(tensor: torch.Tensor, *shape: int) -> nn.Parameter:
    """A parameter of another shape that shares the memory of `tensor`, if its strides allow this."""
    return nn.Parameter(tensor.detach().reshape(shape), requires_grad=tensor.requires_grad)
