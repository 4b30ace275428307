"""Attention in the open: what every attention of a network weighs, whichever way it is written, while the network runs.

Functions are watched, not modules: fused kernels are worked out step by step, and a softmax that multiplies values is
followed to where it does. The watch belongs to its own thread, and nothing of the network changes.
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
# What weights may pass through and stay what they are, but for their shape and type.
_PASSAGES = {
    F.dropout, torch.dropout, torch.clone, torch.flatten, torch.reshape, torch.transpose, torch.permute, torch.squeeze,
    torch.unsqueeze, Tensor.to, Tensor.type, Tensor.type_as, Tensor.float, Tensor.contiguous, Tensor.clone, Tensor.view,
    Tensor.reshape, Tensor.flatten, Tensor.unflatten, Tensor.transpose, Tensor.permute, Tensor.squeeze,
    Tensor.unsqueeze, Tensor.detach, Tensor.requires_grad_, Tensor.expand, Tensor.view_as, Tensor.mT.__get__,  # type: ignore[attr-defined]
}  # fmt: skip


@dataclass(eq=False)
class Weights:
    """One attention: what its softmax gave, and where.

    path: of the module it ran in. along: the axis of the softmax, from behind. used: whether it multiplied something
    changed: whether the network changed it before it did.
    """

    tensor: Tensor
    path: str
    along: int = -1
    used: bool = False
    changed: bool = False

    def heads(self, batch: int, values: Tensor | None = None) -> Tensor | None:
        """As (N, heads, queries, keys), None where it has no such form, as in windows. values: others of its shape."""
        held = self.tensor if values is None else values
        if self.along not in (-1, -2) or held.ndim not in (3, 4) or held.shape[0] % batch:
            return None
        if held.ndim == 4 and held.shape[0] != batch:
            return None
        rows = held if self.along == -1 else held.mT
        return rows if rows.ndim == 4 else rows.reshape(batch, -1, *rows.shape[1:])


class Attending(TorchFunctionMode):
    """While inside, keeps every attention, in the order in which they run: `found`.

    where: says which module runs. With autograd on, the weights can be differentiated by.
    """

    def __init__(self, where: Callable[[], str] = str) -> None:
        super().__init__()
        self._where, self._softmaxes = where, list[Weights]()
        self._followed: dict[int, tuple[Tensor, Weights, bool]] = {}  # by id: the tensor, kept alive, and if changed

    @property
    def found(self) -> list[Weights]:
        """Those that multiplied something."""
        return [weights for weights in self._softmaxes if weights.used]

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs `func`, or what it stands for."""
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
        self._followed[id(given)] = given, kept, False  # a leaf must not be written into: the network gets a copy
        return given

    def _follow(self, func: Callable[..., Any], args: tuple[Any, ...], value: Any) -> Any:
        """Notes what becomes of weights among `args`."""
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
            f"this network attends by {name}, whose weights cannot be seen; turn it to 'sdpa' or 'eager', or try "
            "'gradcam'"
        )
