"""A second graph over the same modules, and the changes that are made to it."""

import copy
from typing import Any, TypeVar

import torch
from torch import fx, nn

from camserve.graph.trace import Graph, without_dead_code

M = TypeVar("M", bound=nn.Module)


def twin(graph: fx.GraphModule) -> tuple[fx.GraphModule, dict[fx.Node, fx.Node]]:
    """A graph of its own that shares every module with `graph`, and which of its nodes stands for which."""
    nodes: dict[fx.Node, fx.Node] = {}
    copied = fx.Graph()
    copied.output(copied.graph_copy(graph.graph, nodes))
    made = Graph(graph, copied)
    shared = set(graph.modules())
    for module in made.modules():
        if module not in shared:  # the containers of the new graph, which torch makes in training mode
            module.training = False
    return made, nodes


def put(made: fx.GraphModule, node: fx.Node, layer: nn.Module, *args: Any) -> None:
    """Let `node` call `layer` on `args`. It keeps its name, and its path unless others call that layer too."""
    sharing = [other for other in made.graph.nodes if other.op == "call_module" and other.target == node.target]
    target = str(node.target) if sharing == [node] else f"surgery_{node.name}"
    made.add_submodule(target, layer.eval())
    node.op, node.target, node.args, node.kwargs = "call_module", target, args, {}


def insert(made: fx.GraphModule, before: fx.Node, layer: nn.Module, *args: Any) -> fx.Node:
    """A new node in front of `before` that calls `layer` on `args`."""
    target = f"surgery_{before.name}"
    made.add_submodule(target, layer.eval())
    with made.graph.inserting_before(before):
        return made.graph.call_module(target, args)


def finish(made: fx.GraphModule) -> fx.GraphModule:
    """`made` with its code written anew, without the modules that it no longer calls."""
    made.graph.lint()
    made.delete_all_unused_submodules()
    made.recompile()
    return made


def up_to(graph: fx.GraphModule, node: fx.Node) -> fx.GraphModule:
    """The part of the graph that ends at `node`, where what follows may not run or costs too much."""
    body, copies = twin(graph)
    (output,) = body.graph.find_nodes(op="output")
    output.args = (copies[node],)
    without_dead_code(body)
    return finish(body)


def variant(layer: M, **changed: Any) -> M:
    """Another layer over the same parameters, with some attributes changed."""
    made = copy.copy(layer)
    made.__dict__ = {name: copy.copy(v) if isinstance(v, dict) else v for name, v in vars(layer).items()}
    for name, value in changed.items():
        setattr(made, name, value)
    return made


def shared(tensor: torch.Tensor, *shape: int) -> nn.Parameter:
    """A parameter of another shape that reads the same memory, wherever strides allow it."""
    return nn.Parameter(tensor.detach().reshape(shape), requires_grad=tensor.requires_grad)
