"""A model cut in two at a layer: body (images -> activations) and head (activations -> logits).

After the cut, no hook is needed. The body runs without autograd, so any engine can run it. Gradients come from the head
alone. To perturb the layer, run the head on changed activations.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import fx, nn

from camserve.errors import ModelError, UnknownName
from camserve.geometry.receptive_field import Field
from camserve.graph.trace import Graph, without_dead_code

_SEVERAL = (nn.RNNBase, nn.MultiheadAttention)


@dataclass(frozen=True)
class Cut:
    """A network cut at a layer: two halves that share its parameters, and where the layer's cells lie.

    body: images (N, c, H, W) -> (activations (N, K, h, w), carried values).
    head: (activations, *carried) -> logits (N, C). `carried` is what the head needs from before the layer
    besides the activations, such as the other branch of a residual block; usually it is empty.
    cells: (w, h) of the layer at the training size. field: takes a number of pixels and returns the receptive field on
    an input that is so many pixels larger each way, None where the graph is not known. period: input sizes that differ
    by this many pixels have the same padding.
    """

    body: nn.Module
    head: nn.Module
    cells: tuple[int, int]
    field: Callable[[int], Field | None]
    period: int = 1


def split(graph: fx.GraphModule, layer: str | fx.Node) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Cut `graph` after `layer` into the body and the head of Cut. Raises UnknownName, which lists close matches."""
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
    return _body(graph, node, carried), _head(graph, node, carried, after)


# Key of a node's meta: the name that a model file gives to a function.
NAMED = "camserve_name"


def layer_names(graph: fx.GraphModule) -> dict[str, fx.Node]:
    """{name of a layer: its last node}, in the order of the graph.

    A name is a module's path ("layer4", "layer4.1.conv2"). For a function it is the path of the module that calls it
    and the name of the function ("layer4.1.add", "relu"); further calls in the same module get a number ("relu_1"). The
    name of a module that is used several times means its last use.
    """
    names: dict[str, fx.Node] = {}
    calls: dict[str, int] = {}
    for node in graph.graph.nodes:
        if node.op in ("placeholder", "output", "get_attr"):
            continue
        modules = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
        module = node if node.op == "call_module" else _first_of_several(graph, node)
        own = _function_name(node, modules, calls) if module is None else str(module.target)
        own = node.meta.get(NAMED, own)
        for name in (*modules, own):
            names.pop(name, None)
            if name:
                names[name] = node
    return names


def _first_of_several(graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """The layer whose main output a node takes: recurrent layers and attention give several, the main one first."""
    if node.target is not operator.getitem or node.args[1] != 0 or not isinstance(node.args[0], fx.Node):
        return None
    source = node.args[0]
    several = source.op == "call_module" and isinstance(graph.get_submodule(str(source.target)), _SEVERAL)
    return source if several else None


def _function_name(node: fx.Node, modules: list[str], calls: dict[str, int]) -> str:
    function = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "function")
    path = f"{modules[-1]}.{function}" if modules and modules[-1] else function
    calls[path] = calls.get(path, -1) + 1
    return f"{path}_{calls[path]}" if calls[path] else path


def find_layer(graph: fx.GraphModule, layer: str) -> fx.Node:
    """The node that ends `layer`. Raises UnknownName."""
    return _named(layer, layer_names(graph))


def _named(layer: str, names: dict[str, fx.Node]) -> fx.Node:
    if layer not in names:
        raise UnknownName("layer", layer, names)
    return names[layer]


def node_of(graph: fx.GraphModule, name: str) -> fx.Node:
    """As `find_layer`, but also takes torch.fx's own names of nodes."""
    own = next((node for node in graph.graph.nodes if node.name == name), None)
    names = layer_names(graph)
    return own if own is not None and name not in names else _named(name, names)


def shortest_name(graph: fx.GraphModule, node: fx.Node) -> str:
    """The name to show for `node`: the outermost module that ends there ("layer4", not "layer4.1.relu"), or its own."""
    return shortest_names(graph)[node]


def shortest_names(graph: fx.GraphModule) -> dict[fx.Node, str]:
    """`shortest_name` of every node that has a name."""
    modules = {path for one in graph.graph.nodes for path, _ in (one.meta.get("nn_module_stack") or {}).values()}
    names: dict[fx.Node, list[str]] = {}
    for name, node in layer_names(graph).items():
        names.setdefault(node, []).append(name)

    def rank(node: fx.Node, name: str) -> tuple[bool, int, int]:
        return node.op != "call_module" and name not in modules, name.count("."), len(name)

    return {node: min(several, key=partial(rank, node)) for node, several in names.items()}


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
    wanted, kept = {node, *carried}, None
    for other in graph.graph.nodes:
        if other.op != "output":
            copies[other] = half.node_copy(other, copies.__getitem__)
        wanted.discard(other)
        if not wanted:
            break
        if other is node:  # nodes before the last carried value may write into the layer's activations
            kept = half.call_function(_clone, (copies[node],))
    half.output((kept or copies[node], tuple(copies[other] for other in carried)))
    return _without_dead_code(graph, half)


def _head(graph: fx.GraphModule, node: fx.Node, carried: list[fx.Node], after: set[fx.Node]) -> fx.GraphModule:
    half = fx.Graph()
    # The head gets clones: an in-place ReLU right after the layer would write into the caller's activations.
    copies = {other: half.call_function(_clone, (half.placeholder(other.name),)) for other in (node, *carried)}
    for other in graph.graph.nodes:
        if other in after or other.op == "get_attr":
            copies[other] = half.node_copy(other, copies.__getitem__)
    if not any(other.op == "output" for other in after):
        raise ModelError(f"layer '{node.name}' does not lead to the model's output; choose another layer")
    return _without_dead_code(graph, half)


def _without_dead_code(root: fx.GraphModule, half: fx.Graph) -> fx.GraphModule:
    """`half` as a module that shares `root`'s parameters, without nodes that its output does not need."""
    made = Graph(root, half)
    without_dead_code(made)
    return made


def _clone(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value
