"""A model as a graph: torch.fx with every layer kept whole."""

import torch
from torch import fx, nn

from camserve.errors import ModelError

_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Untraceable(ModelError):
    """The network's control flow needs data: torch.fx sees none."""


class _Tracer(fx.Tracer):
    """Keeps subclasses of torch's own layers whole, such as a Conv2d with SAME padding.

    Their shape arithmetic cannot be traced, and geometry and cost are known for the layer, not for its parts.
    """

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        layer = any(base.__module__.startswith("torch.nn.") and base not in _CONTAINERS for base in type(m).__mro__)
        return (layer and not isinstance(m, nn.Sequential)) or super().is_leaf_module(m, module_qualified_name)


def trace(model: nn.Module) -> fx.GraphModule:
    """The graph of `model`, sharing its parameters. Raises Untraceable."""
    try:
        graph = _Tracer().trace(model)
    except Exception as error:  # whatever the user's forward raises when it meets a proxy
        raise Untraceable(f"torch.fx cannot trace {type(model).__name__}: {error}") from None
    return fx.GraphModule(model, graph)


def is_recording() -> bool:
    """Whether an export is writing down what runs, for which sizes must stay symbols: no branch may depend on one."""
    recording: bool = torch.jit.is_tracing() or torch.compiler.is_exporting()  # type: ignore[attr-defined, no-untyped-call]
    return recording
