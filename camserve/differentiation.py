"""Gradients of any network, those that write into their own activations included."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from camserve.errors import OptionError


def writing_allowed() -> AbstractContextManager[object]:
    """While inside, autograd keeps what is written over (a ReLU's result, added to in place) as it was."""
    return torch.autograd.graph.allow_mutation_on_saved_tensors()


def gradients(function: Callable[[Sequence[Tensor]], Tensor], values: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """d function(values) / d values, a scalar's. Raises OptionError, in words, where there is no such gradient.

    function: called with leaves of those values, once, or twice where the network writes in place.
    """
    try:
        return _gradients(function, values)
    except RuntimeError as error:
        if "inplace" not in str(error) and "in-place" not in str(error):
            raise OptionError(_why(error)) from None
    try:
        with writing_allowed():
            return _gradients(function, values)
    except RuntimeError as error:
        raise OptionError(_why(error)) from None


def _gradients(function: Callable[[Sequence[Tensor]], Tensor], values: Sequence[Tensor]) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        leaves = [value.detach().clone().requires_grad_() for value in values]
        score = function(leaves)
        return torch.autograd.grad(score, leaves, materialize_grads=True)


def _why(error: RuntimeError) -> str:
    reason = str(error).strip().split("\n")[0]
    return (
        f"torch cannot differentiate this network behind the layer: {reason}. Try a method without gradients, such as "
        "reciprocam or scorecam, or another layer"
    )
