"""Find out from its answers whether a head is a cosine with each class: logits = weight @ f / |f| + bias.

The feature f is the tensor whose length the head computes.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from camserve.graph.cosine_head import CosineHead
from camserve.graph.heads import Carried, Head
from camserve.graph.original.agreement import same

_NORMS = {torch.norm, Tensor.norm, torch.linalg.norm, torch.linalg.vector_norm, F.normalize}
_POWERS = {torch.pow, Tensor.pow, Tensor.__pow__}
_SQUARES, _PRODUCTS = {torch.square, Tensor.square}, {torch.mul, Tensor.mul, Tensor.__mul__}
_SUMS = {torch.sum, Tensor.sum}
_ROOTS = {torch.sqrt, Tensor.sqrt, torch.rsqrt, Tensor.rsqrt}
# Smallest 1 - cosine between the directions of two features: closer directions do not show the bias.
_APART = 1e-3


class _Lengths(TorchFunctionMode):
    """While active, collects every tensor whose length is computed, in order, in `found`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Tensor] = []
        self._squared: dict[int, tuple[Tensor, Tensor]] = {}  # {id: (tensor of squares, kept alive, its source)}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run `func`."""
        given = kwargs or {}
        value = func(*args, **given)
        first = args[0] if args else None
        second = args[1] if len(args) > 1 else given.get("exponent")
        if not isinstance(first, Tensor):
            first = given.get("input")
        if not isinstance(first, Tensor):
            return value
        if func in _NORMS:
            self.found.append(first)
        elif func is F.cosine_similarity:
            self.found += [one for one in (*args, *given.values()) if isinstance(one, Tensor)]
        elif func in _SQUARES or (func in _POWERS and second == 2) or (func in _PRODUCTS and first is second):
            self._squared[id(value)] = value, first
        elif id(first) in self._squared:
            own = self._squared[id(first)][1]
            if func in _SUMS:
                self._squared[id(value)] = value, own
            elif func in _ROOTS or (func in _POWERS and second in (0.5, -0.5)):
                self.found.append(own)
        return value


class FeatureOf(nn.Module):
    """(activations, *carried) -> the feature (N, D) of a head: the tensor of its index-th length."""

    def __init__(self, module: nn.Module, index: int) -> None:
        super().__init__()
        self.module, self.index = module, index

    def forward(self, activations: Tensor, *carried: Any) -> Tensor:
        """(N, K, h, w) -> (N, D)."""
        with _Lengths() as lengths:
            self.module(activations, *carried)
        feature: Tensor = lengths.found[self.index].flatten(1)
        return feature


def cosine_head(head: Head, maps: tuple[Tensor, ...], carried: Carried) -> CosineHead | None:
    """`head` as a feature and a cosine with each class; None if it is not such a head.

    maps: several artificial activations (1, K, h, w). carried: the other inputs of the head. Raises the head's errors.
    """
    leaf = maps[0].detach().clone().requires_grad_()
    with torch.enable_grad():
        with _Lengths() as lengths:
            logits = head.module(leaf, *carried)
        index = next((place for place in reversed(range(len(lengths.found))) if lengths.found[place].requires_grad), -1)
        if index < 0 or not logits.requires_grad:
            return None
        feature = lengths.found[index]
        slopes = [torch.autograd.grad(logit, feature, retain_graph=True, allow_unused=True)[0] for logit in logits[0]]
    if any(slope is None for slope in slopes):
        return None
    made = Head(FeatureOf(head.module, index))
    features = [made.logits(one, carried) for one in maps]
    answers = [head.logits(one, carried)[0] for one in maps]
    read = _readout(torch.stack(slopes).flatten(1), features, answers)
    if read is None:
        return None
    found = CosineHead(made, *(part.to(answers[0]) for part in read))
    return found if all(same(found.read(f)[0], answer) for f, answer in zip(features, answers, strict=True)) else None


def _readout(slopes: Tensor, features: list[Tensor], answers: list[Tensor]) -> tuple[Tensor, Tensor] | None:
    """The weight (C, D) and bias (C,), computed in float64.

    features, answers: the first two of each are used. slopes: (C, D), of the first answer. A slope times |f| is the
    part of the weight that is orthogonal to f. The part along f is the answer minus the bias. The bias is the value
    with which the second answer is also right.
    """
    (own, other), (said, said_of_other) = (
        [value.detach().double() for value in values[:2]] for values in (features, answers)
    )
    length = own.norm()
    if not length or not other.norm() or other.shape != own.shape:
        return None
    along, towards = own[0] / length, other[0] / other.norm()
    across, turned = slopes.double() * length, float(along @ towards)
    if 1 - turned < _APART:
        return None
    bias = (said_of_other - across @ towards - said * turned) / (1 - turned)
    if torch.allclose(bias, bias.mean(), atol=1e-4 * float(said.abs().max())):
        bias = bias.mean().expand_as(bias)  # usually all classes share one bias: removes rounding
    if float(bias.abs().max()) < 1e-5 * float(said.abs().max()):
        bias = torch.zeros_like(bias)
    return across + (said - bias)[:, None] * along, bias
