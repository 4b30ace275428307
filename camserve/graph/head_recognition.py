"""Find the kind of a cut model's head from its graph.

`camserve.models.layer` checks the result with numbers: a head that only looks linear is treated as general.
"""

import operator
from typing import Any

from torch import fx, nn
from torch.nn import functional as F

from camserve.graph.heads import ClassMapHead, Head, LinearHead, PooledHead

_FLATTENING = ("flatten", "view", "reshape", "squeeze")


def head_of(module: nn.Module) -> Head:
    """The head of a cut, `(activations, *carried) -> logits`. An unknown head is general."""
    found = _pooling(module) if isinstance(module, fx.GraphModule) else None
    if found is None or not isinstance(module, fx.GraphModule):
        return Head(module)
    pool, rectified = found
    nodes = list(module.graph.nodes)
    after = [node for node in nodes[nodes.index(pool) + 1 :] if _changes_values(module, node)]
    if not after:
        return ClassMapHead(module, rectified=rectified)
    if rectified:  # a ReLU between the layer and the pooling: gradients differ from place to place
        return Head(module)
    linear = _linear(module, after[0]) if len(after) == 1 else None
    if linear is None:
        return PooledHead(module)
    weight, bias = linear.weight.detach().flatten(1), linear.bias
    return LinearHead(module, weight, weight.new_zeros(len(weight)) if bias is None else bias.detach())


def _pooling(module: fx.GraphModule) -> tuple[fx.Node, bool] | None:
    """The global average pooling that is the only user of the activations, and whether a ReLU comes before it."""
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    value, rectified = placeholders[0], False
    while len(placeholders) == 1:
        users = [user for user in value.users if not _is_about_shape(user)]
        if len(users) != 1:
            return None
        (value,) = users
        if _is_global_pool(module, value):
            return value, rectified
        if _is(module, value, nn.ReLU, F.relu, "relu", "relu_"):
            rectified = True
        elif not _is(module, value, nn.Identity, "_clone") and not _is_idle_dropout(module, value):
            return None
    return None


def _changes_values(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node changes pooled values, not only their shape."""
    if node.op in ("placeholder", "output", "get_attr") or _is_about_shape(node):
        return False
    return not _is(module, node, nn.Flatten, nn.Identity, *_FLATTENING) and not _is_idle_dropout(module, node)


def _linear(module: fx.GraphModule, node: fx.Node) -> nn.Linear | nn.Conv2d | None:
    """The linear layer that a node calls. A 1x1 convolution of pooled values is also linear."""
    layer = module.get_submodule(str(node.target)) if node.op == "call_module" else None
    if isinstance(layer, nn.Conv2d):
        plain = layer.kernel_size == (1, 1) and layer.groups == 1 and not any(layer.padding)
        return layer if plain else None
    return layer if isinstance(layer, nn.Linear) else None


def _is_global_pool(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
        return isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1))
    given = node.args[1] if len(node.args) > 1 else None
    if node.target is F.adaptive_avg_pool2d:
        return node.kwargs.get("output_size", given) in (1, (1, 1), [1, 1])
    if node.target is F.avg_pool2d:  # global if the kernel is the size of the activations
        kernel = node.kwargs.get("kernel_size", given)
        return isinstance(kernel, fx.Node) and _is_about_shape(kernel)
    axes: Any = node.kwargs.get("dim", given)
    mean = _is(module, node, "mean") and isinstance(axes, tuple | list)
    return mean and {axis % 4 for axis in axes} == {2, 3}


def _is_about_shape(node: fx.Node) -> bool:
    """Whether a node gives only the size of a tensor: x.size(), x.shape, or an element of these."""
    if node.target is operator.getitem and isinstance(node.args[0], fx.Node):
        return _is_about_shape(node.args[0])
    return node.target in ("size", "dim") or (node.target is getattr and node.args[1:] == ("shape",))


def _is_idle_dropout(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.target in (F.dropout, F.dropout2d):
        return node.kwargs.get("training", True) is False
    return _is(module, node, nn.Dropout, nn.Dropout2d)


def _is(module: fx.GraphModule, node: fx.Node, *kinds: object) -> bool:
    """Whether a node calls a module of these classes, or one of these functions or names of functions."""
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
        return isinstance(layer, tuple(kind for kind in kinds if isinstance(kind, type)))
    return node.target in kinds or getattr(node.target, "__name__", None) in kinds
