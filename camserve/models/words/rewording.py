"""The same network for other sentences: everything is shared except the two tensors for the sentences."""

import copy
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from camserve.graph.cosine_head import CosineHead
from camserve.graph.network import Network
from camserve.models.architectures.zero_shot import ZeroShot
from camserve.models.layer import Layer

# {id of a tensor: the tensor that replaces it}
Swap = Mapping[int, Tensor]


def swap_of(module: nn.Module, sentences: Tensor, bias: float) -> dict[int, Tensor]:
    """The new tensors for the network of a zero-shot model. sentences: (C, D), from `Words.features`."""
    (own,) = (part for part in module.modules() if isinstance(part, ZeroShot))
    new = sentences.to(own.sentences)
    return {id(own.sentences): new, id(own.bias): new.new_full((len(new),), bias)}


def swapped(module: nn.Module, swap: Swap) -> nn.Module:
    """`module` with other buffers. Parts without such buffers are shared; `module` itself, if it has none."""
    parts = {name: part if part is None else swapped(part, swap) for name, part in module._modules.items()}
    buffers = {name: swap.get(id(value), value) for name, value in module._buffers.items()}
    if all(parts[name] is part for name, part in module._modules.items()) and all(
        buffers[name] is value for name, value in module._buffers.items()
    ):
        return module
    made: nn.Module = object.__new__(type(module))
    made.__dict__.update(module.__dict__, _modules=parts, _buffers=buffers)
    return made


def network_with(network: Network, swap: Swap) -> Network:
    """The network with other buffers; its layers are cut as before."""
    (weight, _) = swap.values()
    made = copy.copy(network)
    made.given, made.classes = copy.copy(swapped(network.given, swap)), len(weight)  # type: ignore[assignment]
    made.given.classes = len(weight)
    if made.graph is not None:
        made.graph = swapped(made.graph, swap)  # type: ignore[assignment, misc]
    return made


def layer_with(layer: Layer, swap: Swap) -> Layer | None:
    """A layer with other buffers, run by torch; None if its head was not recognised as a cosine."""
    if not isinstance(head := layer.head, CosineHead):
        return None
    made = copy.copy(layer)
    made.engine = made.on_torch = replace(layer.on_torch, head=CosineHead(head.feature, *swap.values()))
    made.head = made.on_torch.head
    return made
