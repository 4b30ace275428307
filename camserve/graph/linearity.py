"""Find out from its answers, not from its code, whether a head is a mean over places and one matrix.

A head has exact class maps if it depends only on the mean of its activations and is affine in it. This also finds such
heads in hooked networks, channels-last networks, tokens after a norm, and two averaged heads. The head is tested with
artificial activations.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from camserve.catalogue.head_kinds import HeadKind
from camserve.graph.cosine import cosine_head
from camserve.graph.cosine_head import CosineHead
from camserve.graph.heads import Carried, Head, LinearHead, PooledHead
from camserve.graph.original.agreement import same

# The matrix of an affine head with more values than this (classes times channels) is not found by differentiation.
_MOST_WEIGHTS = 5_000_000


def head_by_numbers(head: Head, activations: Tensor, carried: Carried, others: Carried) -> Head:
    """`head`, or an equal head of a more special kind: linear, cosine, or pooled.

    activations: (1, K, h, w). carried: the other inputs of the head; others: those of another image, because a part
    that depends on them is not a bias.
    """
    try:
        cosine = cosine_head(head, _Asked(head, activations).maps, carried)
    except (RuntimeError, ValueError, TypeError, IndexError):  # the head does not take artificial activations
        cosine = None
    if cosine is None:
        return _by_mean(head, activations, carried, others)
    feature = _by_mean(cosine.feature, activations, carried, others)
    return CosineHead(feature, cosine.weight, cosine.bias)


def _by_mean(head: Head, activations: Tensor, carried: Carried, others: Carried) -> Head:
    """`head`, or an equal linear or pooled head if it depends only on the mean over places."""
    asked = _Asked(head, activations)
    try:
        with torch.no_grad():
            if not asked.depends(carried) or not asked.knows_the_mean_alone(carried):
                return head
            affine = asked.is_affine(carried)
            alike = affine and same(asked(asked.mean, others), asked(asked.mean, carried))
        if alike:
            return _linear(head, asked, carried)
        is_new = head.kind is not HeadKind.POOLED and asked.takes_one_cell(carried)
        return PooledHead(head.module) if is_new else head
    except (RuntimeError, ValueError, TypeError, IndexError):  # the head does not take artificial activations
        return head


class _Asked:
    """A head, and artificial activations to test it with: the layer's activations plus noise at every place."""

    def __init__(self, head: Head, activations: Tensor) -> None:
        chance = torch.Generator().manual_seed(3)
        self._head, self.shape = head, activations.shape
        spread = activations.std().clamp(min=1e-3)
        self._noisy = activations + spread * torch.randn(activations.shape, generator=chance).to(activations)
        self.mean = self._noisy.mean((2, 3), keepdim=True)
        self._other = self.mean + spread * torch.randn(self.mean.shape, generator=chance).to(activations)

    @property
    def maps(self) -> tuple[Tensor, ...]:
        """Activations (1, K, h, w) that differ from each other."""
        return self._noisy, self._other.expand(self.shape).contiguous(), self._noisy.flip(1)

    def __call__(self, mean: Tensor, carried: Carried) -> Tensor:
        """The logits (1, C) of a map that is `mean` (1, K, 1, 1) everywhere."""
        return self._head.logits(mean.expand(self.shape).contiguous(), carried)

    def depends(self, carried: Carried) -> bool:
        """Whether the answer changes with the activations; with weights of zero it does not."""
        return not torch.equal(self(self.mean, carried), self(self._other, carried))

    def knows_the_mean_alone(self, carried: Carried) -> bool:
        """Whether the answer stays the same if every place has the mean."""
        return same(self(self.mean, carried), self._head.logits(self._noisy, carried))

    def is_affine(self, carried: Carried) -> bool:
        """Whether f(a + b) + f(0) = f(a) + f(b), also far from the activations, where a small curvature shows."""
        at_none = self(torch.zeros_like(self.mean), carried)
        pairs = [(factor * self.mean, sign * factor * self._other) for factor, sign in ((1, 1), (30, -1), (30, 1))]
        return all(same(self(a + b, carried) + at_none, self(a, carried) + self(b, carried)) for a, b in pairs)

    def takes_one_cell(self, carried: Carried) -> bool:
        """Whether a map of one cell, the mean, gives the same answer."""
        return same(self._head.logits(self.mean, carried), self(self.mean, carried))


def _linear(head: Head, asked: _Asked, carried: Carried) -> Head:
    """The head as a pooling and one matrix. The bias is its answer to activations of zero."""
    with torch.no_grad():
        bias = asked(torch.zeros_like(asked.mean), carried)[0]
        answers = asked(asked.mean, carried)
    for weight in _candidates(head.module, len(bias), asked.shape[1]):
        if same(asked.mean.flatten(1) @ weight.T + bias, answers):
            return _made(weight, bias)
    if len(bias) * asked.shape[1] > _MOST_WEIGHTS:
        return head
    weight = _jacobian(head, asked, carried, len(bias))
    return _made(weight, bias) if same(asked.mean.flatten(1) @ weight.T + bias, answers) else head


def _made(weight: Tensor, bias: Tensor) -> LinearHead:
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight, linear.bias = (nn.Parameter(value.clone(), requires_grad=False) for value in (weight, bias))
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear).eval()
    return LinearHead(Alone(module), linear.weight, linear.bias)


class Alone(nn.Module):
    """A head that uses only its activations and ignores the carried values."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, activations: Tensor, *carried: Any) -> Tensor:
        """(N, K, h, w) -> (N, C)."""
        logits: Tensor = self.module(activations)
        return logits


def _candidates(module: nn.Module, classes: int, channels: int) -> Iterator[Tensor]:
    """The matrices (C, K) of linear layers and 1x1 convolutions, the last first."""
    for part in reversed(list(module.modules())):
        if isinstance(part, nn.Linear | nn.Conv2d) and isinstance(getattr(part, "weight", None), Tensor):
            weight = part.weight.detach()
            if weight.flatten(1).shape == (classes, channels):
                yield weight.flatten(1)


def _jacobian(head: Head, asked: _Asked, carried: Carried, classes: int) -> Tensor:
    """d logits / d mean, (C, K)."""
    with torch.enable_grad():
        leaf = asked.mean.detach().clone().requires_grad_()
        logits = head.module(leaf.expand(asked.shape).contiguous(), *carried)[0]
        rows = [torch.autograd.grad(logits[index], leaf, retain_graph=True)[0].flatten() for index in range(classes)]
    return torch.stack(rows)
