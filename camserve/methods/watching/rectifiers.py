"""Find all ReLUs of a network in the graph that autograd keeps of one forward pass.

A ReLU gives the same node if it is a module, a function, a method, in place, or part of another module. The graph
belongs to one call and one thread, so hooks on its nodes do not change the network.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from camserve.errors import OptionError
from camserve.graph.layer_search import separators

# Starts of the names of nodes that stand for a part of the network that autograd does not see.
_HIDING = {
    "CheckpointFunctionBackward": "checkpoints (torch.utils.checkpoint with use_reentrant=True)",
    "CompiledFunctionBackward": "parts compiled by torch.compile",
    "DifferentiableGraphBackward": "parts compiled by torch.jit",
}
_LEAKY = ("leaky", "rrelu", "prelu", "selu", "celu", "gelu")


def steps_behind(value: Tensor) -> Iterator[Any]:
    """See `camserve.graph.layer_search.separators`. Raises OptionError if some steps cannot be seen."""
    for step in separators.steps_behind(value):
        _refuse_what_hides(step.name())
        yield step


def is_relu(step: Any) -> bool:
    """Whether a step of autograd gives 0 for negative values and passes values above, up to a bound or without one.

    Raises OptionError for a ReLU that can have no hook: the user's own function, or a ReLU on a part of a tensor.
    """
    name = step.name().rsplit("::", 1)[-1].rstrip("0123456789")
    if name == "CopySlices" and is_relu(step._wrapped_node):
        raise OptionError(
            "this network has a ReLU that overwrites a part of a tensor, and its gradient cannot be guided; write the "
            "network without in-place ReLUs of slices, or try 'integratedgradients'"
        )
    if name == "ReluBackward":
        return True
    if name in ("HardtanhBackward", "ThresholdBackward", "ClampBackward", "ClampMinBackward"):
        return _bound(step) == 0
    if name in ("MaximumBackward", "FmaxBackward"):
        return any(_is_nothing(getattr(step, side, None)) for side in ("_saved_self", "_saved_other"))
    lower = name.lower()
    if "relu" in lower and not any(word in lower for word in _LEAKY):
        raise OptionError(
            f"this network has a ReLU of its own, {name.removesuffix('Backward')}, whose gradient cannot be guided; "
            "put torch.nn.ReLU in its place, or try 'integratedgradients'"
        )
    return False


def _bound(step: Any) -> float | None:
    """Return the value below which a step passes nothing; None if there is no such value."""
    for name in ("_saved_min_val", "_saved_threshold", "_saved_min"):
        bound = getattr(step, name, None)
        if isinstance(bound, Tensor):
            return None if bool(bound.any()) else 0.0
        if bound is not None:
            return float(bound)
    return None


def _is_nothing(value: Tensor | None) -> bool:
    return isinstance(value, Tensor) and not value.requires_grad and not bool(value.any())


def _refuse_what_hides(name: str) -> None:
    for start, what in _HIDING.items():
        if start in name:
            raise OptionError(
                f"this network has {what}, whose inside cannot be observed; turn that off before loading it, or try "
                "'integratedgradients'"
            )
