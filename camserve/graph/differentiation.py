"""Gradients of any network, also of networks that write into their own activations."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from camserve.errors import OptionError, first_line
from camserve.graph.layer_search.separators import steps_behind


def writing_allowed() -> AbstractContextManager[object]:
    """While active, autograd keeps a copy of a tensor before a step overwrites it, such as an in-place ReLU or sum."""
    return torch.autograd.graph.allow_mutation_on_saved_tensors()


def gradients(function: Callable[[Sequence[Tensor]], Tensor], values: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The gradient of a scalar, d function(values) / d values. Raises OptionError if torch cannot compute it.

    function: called with leaves that hold the values; once, or twice if the network writes in place.
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
        return torch.autograd.grad(steady(function(leaves)), leaves, materialize_grads=True)


def steady(score: Tensor) -> Tensor:
    """Return `score`, after making the backward pass give contiguous gradients to every batch normalisation.

    On the CPU and for a batch of one, torch 2.14.1 misreads other gradients. If a map becomes tokens after the
    normalisation (`flatten(2).transpose(1, 2)`), the error is as large as the gradient, and there is no warning
    (findings/torch_batch_norm_gradient.sh).
    """
    for step in steps_behind(score):
        if "BatchNorm" in step.name():
            step.register_prehook(_contiguous)
    return score


def _contiguous(given: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    return tuple(None if one is None else one.contiguous() for one in given)


def _why(error: RuntimeError) -> str:
    reason = first_line(error)
    return (
        f"torch cannot differentiate this network after the layer: {reason}. Try a method without gradients, such as "
        "reciprocam or scorecam, or another layer"
    )
