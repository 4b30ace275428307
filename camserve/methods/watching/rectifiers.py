"""The ReLUs of a network, found where none can hide: in the graph that autograd keeps of one forward pass.

Whether a ReLU is a module, a function, a method, in place, or part of another module, the same node stands for it.
The graph belongs to one call and one thread, so what is hung on its nodes changes nothing of the network.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from camserve.errors import OptionError
from camserve.graph.layer_search import separators

# Nodes that stand for a part of the network which autograd does not see: by the start of their names.
_HIDING = {
    "CheckpointFunctionBackward": "checkpoints (torch.utils.checkpoint with use_reentrant=True)",
    "CompiledFunctionBackward": "parts compiled by torch.compile",
    "DifferentiableGraphBackward": "parts compiled by torch.jit",
}
_LEAKY = ("leaky", "rrelu", "prelu", "selu", "celu", "gelu")


def steps_behind(value: Tensor) -> Iterator[Any]:
    """As in `camserve.graph.layer_search.separators`. Raises OptionError where some steps cannot be seen."""
    for step in separators.steps_behind(value):
        _refuse_what_hides(step.name())
        yield step


def is_relu(step: Any) -> bool:
    """Whether a step of autograd gives 0 for what is below 0 and lets pass what is above, up to a bound or for ever.

    Raises OptionError for a ReLU to which nothing can be added: one of the user's own, or of part of a tensor.
    """
    name = step.name().rsplit("::", 1)[-1].rstrip("0123456789")
    if name == "CopySlices" and is_relu(step._wrapped_node):
        raise OptionError(
            "this network has a ReLU that overwrites a part of a tensor, which cannot be guided; write it without "
            "in-place ReLUs of slices, or try 'integratedgradients'"
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
    """The value below which a step lets nothing pass; None where there is none."""
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
                f"this network has {what}, inside which nothing can be seen; turn that off before loading it, or try "
                "'integratedgradients'"
            )
