"""A model cut in two at a layer: body (images -> activations) and head (activations -> logits).

Once cut, nothing needs a hook. The body runs without autograd, so any engine can run it; gradients come from
the head alone; a perturbed layer is the head on changed activations.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from camserve.errors import ModelError, UnknownName


@dataclass(frozen=True)
class Cut:
    """Two halves of one graph, sharing the model's parameters.

    node: where in the graph.
    body: images (N, 3, H, W) -> (activations (N, K, h, w), carried values).
    head: (activations, *carried) -> logits (N, C). `carried` is what the head needs from before the layer
    besides its activations, such as the other branch of a residual block; usually nothing.
    """

    node: fx.Node
    body: fx.GraphModule
    head: fx.GraphModule


def cut(graph: fx.GraphModule, layer: str | fx.Node) -> Cut:
    """Cut `graph` after `layer`. Raises UnknownName, with close matches, where there is no such layer."""
    node = find_layer(graph, layer) if isinstance(layer, str) else layer
    after = _descendants(node)
    carried = [
        other
        for other in graph.graph.nodes
        if other is not node
        and other not in after
        and other.op != "get_attr"
        and any(user in after for user in other.users)
    ]
    return Cut(node, _body(graph, node, carried), _head(graph, node, carried, after))


def layer_names(graph: fx.GraphModule) -> dict[str, fx.Node]:
    """Every name a layer can be asked for by, in the order of the graph, with the node that ends it.

    A name is a module's path ("layer4", "layer4.1.conv2") or, for a bare function, its node ("relu_3"). A
    module used several times is known by its last use.
    """
    names: dict[str, fx.Node] = {}
    for node in graph.graph.nodes:
        if node.op in ("placeholder", "output", "get_attr"):
            continue
        modules = list(node.meta.get("nn_module_stack") or {})
        own = str(node.target) if node.op == "call_module" else node.name
        for name in (*modules, own):
            names.pop(name, None)
            if name:
                names[name] = node
    return names


def find_layer(graph: fx.GraphModule, layer: str) -> fx.Node:
    """The node that ends `layer`. Raises UnknownName."""
    names = layer_names(graph)
    if layer not in names:
        raise UnknownName("layer", layer, names)
    return names[layer]


def shortest_name(graph: fx.GraphModule, node: fx.Node) -> str:
    """The name to show for `node`: the outermost module that ends there ("layer4", not "layer4.1.relu"), or its own."""
    names = [name for name, end in layer_names(graph).items() if end is node]
    return min(names, key=lambda name: (name == node.name and node.op != "call_module", name.count("."), len(name)))


def _descendants(node: fx.Node) -> set[fx.Node]:
    found: set[fx.Node] = set()
    waiting = list(node.users)
    while waiting:
        user = waiting.pop()
        if user not in found:
            found.add(user)
            waiting.extend(user.users)
    return found


def _body(graph: fx.GraphModule, node: fx.Node, carried: list[fx.Node]) -> fx.GraphModule:
    half = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    wanted = {node, *carried}
    for other in graph.graph.nodes:
        if other.op != "output":
            copies[other] = half.node_copy(other, copies.__getitem__)
        wanted.discard(other)
        if not wanted:
            break
    half.output((copies[node], tuple(copies[other] for other in carried)))
    return _without_dead_code(graph, half)


def _head(graph: fx.GraphModule, node: fx.Node, carried: list[fx.Node], after: set[fx.Node]) -> fx.GraphModule:
    half = fx.Graph()
    # The head gets clones: an in-place ReLU right after the layer would write into the caller's activations.
    copies = {other: half.call_function(_clone, (half.placeholder(other.name),)) for other in (node, *carried)}
    for other in graph.graph.nodes:
        if other in after or other.op == "get_attr":
            copies[other] = half.node_copy(other, copies.__getitem__)
    if not any(other.op == "output" for other in after):
        raise ModelError(f"layer '{node.name}' does not lead to the model's output; choose another")
    return _without_dead_code(graph, half)


def _without_dead_code(root: fx.GraphModule, half: fx.Graph) -> fx.GraphModule:
    """`half` as a module that shares `root`'s parameters and holds only what it computes."""
    made = fx.GraphModule(root, half)
    made.graph.eliminate_dead_code()
    made.delete_all_unused_submodules()
    made.recompile()
    return made


def _clone(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value
