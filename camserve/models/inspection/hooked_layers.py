"""The layers of a network that torch.fx cannot trace, recorded with one image.

Operations between layers are not recorded: functions have no row, and their cost is not counted. FUNCTIONS says so
in the list of what is not counted.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from camserve.graph.original.given import Given
from camserve.graph.original.state import fresh
from camserve.graph.receptive.walk import Fields
from camserve.graph.trace import Graph

FUNCTIONS = "functions between the layers, as torch.fx cannot trace the network"
_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)


def record(given: Given) -> tuple[fx.GraphModule, Fields]:
    """A graph of the layers in the order of use, to be read and not run, and their shapes.

    Parameters outside layers come first. Receptive fields are unknown.
    """
    module = fresh(given.module)
    recorder, layers = _Recorder(module), _layers(module)
    for name, parameter in module.named_parameters():
        if not any(name.startswith(f"{layer}.") for layer, _ in layers):
            recorder.keep(recorder.graph.get_attr(name), parameter)
    for name, part in layers:
        part.register_forward_hook(recorder.hook(name))
    with torch.no_grad():
        given.ask(module, torch.zeros_like(given.image()))
    return Graph(module, recorder.graph), recorder.fields


def _layers(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers that graph/trace.py keeps whole: torch's own and their subclasses, and modules without children."""
    found: list[tuple[str, nn.Module]] = []
    for name, part in module.named_modules():
        bases = [base for base in type(part).__mro__ if base.__module__.startswith("torch.nn.")]
        own = not set(bases) <= set(_CONTAINERS) and not isinstance(part, nn.Sequential)
        inside = any(name.startswith(f"{layer}.") for layer, _ in found)
        if name and not inside and (own or not list(part.children())):
            found.append((name, part))
    return found


class _Recorder:
    """Makes a node for every use of a layer. A tensor that no layer returned becomes an input of the graph."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.graph, self.fields = fx.Graph(), Fields()
        self._made: list[tuple[Tensor, fx.Node]] = []

    def hook(self, name: str) -> Callable[..., None]:
        """A forward hook for the layer of that name."""

        def used(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            node = self.graph.call_module(name, tuple(self._node(value) for value in inputs))
            parents = [name.rsplit(".", depth)[0] for depth in range(name.count("."), 0, -1)]
            node.meta["nn_module_stack"] = {path: (path, type(self._module.get_submodule(path))) for path in parents}
            self.fields.unknown[node.name] = "torch.fx cannot trace the network"
            self.keep(node, output[0] if isinstance(output, tuple) else output)

        return used

    def _node(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        known = next((node for tensor, node in reversed(self._made) if tensor is value), None)
        return known or self.keep(self.graph.placeholder(f"input_{len(self._made)}"), value)

    def keep(self, node: fx.Node, value: Tensor) -> fx.Node:
        """Remember that `node` gives `value`."""
        # keep the tensor itself until the recording ends, or a later tensor could get the same id
        self._made.append((value, node))
        self.fields.shapes[node.name] = tuple(value.shape)
        return node
