"""Collect the weights of every attention of a network while it runs, however the attention is written.

Functions are observed, not modules: fused kernels are computed step by step, and the result of a softmax is followed
until it multiplies values. Only the own thread is observed, and the network is not changed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from camserve.errors import OptionError
from camserve.methods.watching.fused_attention import multi_head, scaled_dot_product

_SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax, torch.special.softmax)
_PRODUCTS = (
    torch.matmul, Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, torch.bmm, Tensor.bmm, torch.einsum,
    torch.baddbmm, Tensor.baddbmm,
)  # fmt: skip
# Functions that change only the shape or type of weights, not their values.
_PASSAGES = {
    F.dropout, torch.dropout, torch.clone, torch.flatten, torch.reshape, torch.transpose, torch.permute, torch.squeeze,
    torch.unsqueeze, Tensor.to, Tensor.type, Tensor.type_as, Tensor.float, Tensor.contiguous, Tensor.clone, Tensor.view,
    Tensor.reshape, Tensor.flatten, Tensor.unflatten, Tensor.transpose, Tensor.permute, Tensor.squeeze,
    Tensor.unsqueeze, Tensor.detach, Tensor.requires_grad_, Tensor.expand, Tensor.view_as, Tensor.mT.__get__,  # type: ignore[attr-defined]
}  # fmt: skip


@dataclass(eq=False)
class Weights:
    """One attention: the result of its softmax, and where it ran.

    path: of the module. along: the axis of the softmax, counted from the end. used: whether the weights multiplied
    something. changed: whether the network changed them before.
    """

    tensor: Tensor
    path: str
    along: int = -1
    used: bool = False
    changed: bool = False

    def heads(self, batch: int, values: Tensor | None = None) -> Tensor | None:
        """Return the weights, or other `values` of their shape, as (N, heads, queries, keys); None for windows."""
        held = self.tensor if values is None else values
        if self.along not in (-1, -2) or held.ndim not in (3, 4) or held.shape[0] % batch:
            return None
        if held.ndim == 4 and held.shape[0] != batch:
            return None
        rows = held if self.along == -1 else held.mT
        return rows if rows.ndim == 4 else rows.reshape(batch, -1, *rows.shape[1:])


class Attending(TorchFunctionMode):
    """Inside the context, collects every attention in the order in which they run: `found`.

    where: returns which module runs. With autograd on, gradients with respect to the weights can be computed.
    """

    def __init__(self, where: Callable[[], str] = str) -> None:
        super().__init__()
        self._where, self._softmaxes = where, list[Weights]()
        self._followed: dict[int, tuple[Tensor, Weights, bool]] = {}  # by id: the tensor, kept alive; if changed

    @property
    def found(self) -> list[Weights]:
        """The weights that multiplied something."""
        return [weights for weights in self._softmaxes if weights.used]

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run `func`, or its step-by-step form."""
        given = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return scaled_dot_product(self._fused, *args, **given)
        if func is F.multi_head_attention_forward:
            return multi_head(self._fused, *args, **given)
        if func in _SOFTMAX:
            return self._softmax(func(*args, **given), *args[1:2], **given)
        _refuse_other_kernels(func)
        return self._follow(func, args, func(*args, **given))

    def _fused(self, weights: Tensor) -> Tensor:
        kept = Weights(_differentiable(weights), self._where(), used=True)
        self._softmaxes.append(kept)
        return kept.tensor

    def _softmax(self, value: Tensor, dim: int | None = None, **_: object) -> Tensor:
        if value.ndim < 3 or dim is None:
            return value
        along = dim if dim < 0 else dim - value.ndim
        kept = Weights(_differentiable(value), self._where(), along)
        self._softmaxes.append(kept)
        given = kept.tensor.clone() if kept.tensor.is_leaf and kept.tensor.requires_grad else kept.tensor
        self._followed[id(given)] = given, kept, False  # a leaf must not be changed in place: the network gets a copy
        return given

    def _follow(self, func: Callable[..., Any], args: tuple[Any, ...], value: Any) -> Any:
        """Record what happens to weights among `args`."""
        for one in _tensors(args):
            if id(one) not in self._followed:
                continue
            _, kept, changed = self._followed[id(one)]
            if func in _PRODUCTS:
                kept.used, kept.changed = True, kept.changed or changed
            elif func is Tensor.__setitem__:
                self._followed[id(one)] = one, kept, True
            elif isinstance(value, Tensor) and value.numel() == one.numel():
                self._followed[id(value)] = value, kept, changed or func not in _PASSAGES
        return value


def _differentiable(weights: Tensor) -> Tensor:
    if weights.requires_grad or not torch.is_grad_enabled():
        return weights
    return weights.detach().requires_grad_()


def _tensors(args: Any) -> Iterator[Tensor]:
    for one in args:
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, tuple | list):
            yield from _tensors(one)


def _refuse_other_kernels(func: Callable[..., Any]) -> None:
    name = str(getattr(func, "__name__", func))
    if "attention" in name or "encoder_layer" in name:
        raise OptionError(
            f"this network computes attention with {name}, whose weights cannot be seen; switch it to 'sdpa' or "
            "'eager', or try 'gradcam'"
        )
