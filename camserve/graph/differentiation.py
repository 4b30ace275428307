"""Gradients of any network, those that write into their own activations included."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from camserve.errors import OptionError, first_line
from camserve.graph.layer_search.separators import steps_behind


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
        return torch.autograd.grad(steady(function(leaves)), leaves, materialize_grads=True)


def steady(score: Tensor) -> Tensor:
    """`score`, having every batch normalisation behind it be given gradients that lie row by row in memory.

    torch 2.14.1 misreads others on the CPU, for a batch of one: where a map becomes tokens behind the normalisation
    (`flatten(2).transpose(1, 2)`), the gradient is wrong by as much as its size, without a word
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
        f"torch cannot differentiate this network behind the layer: {reason}. Try a method without gradients, such as "
        "reciprocam or scorecam, or another layer"
    )
