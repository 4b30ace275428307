"""A head is linear where its answers say so, however it is written; else pooled, or general."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camserve.graph.heads import Carried, Head, LinearHead
from camserve.graph.linearity import head_by_numbers

CHANNELS, CLASSES = 6, 4


class Written(nn.Module):
    """A head as a function of its activations (N, K, h, w), its matrix (C, K) and its bias (C,)."""

    def __init__(self, logits: Callable[..., Tensor]) -> None:
        super().__init__()
        chance = torch.Generator().manual_seed(0)
        self.weight = torch.randn(CLASSES, CHANNELS, generator=chance)
        self.bias = torch.randn(CLASSES, generator=chance)
        self.norm = nn.BatchNorm1d(CHANNELS).eval()
        self.norm.running_mean, self.norm.running_var = torch.arange(6.0) / 5, torch.arange(1.0, 7) / 3
        self._logits = logits

    def forward(self, activations: Tensor, *carried: Tensor) -> Tensor:
        return self._logits(self, activations, *carried)


def activations(seed: int = 0, cells: tuple[int, int] = (5, 3)) -> Tensor:
    return torch.randn(1, CHANNELS, *cells, generator=torch.Generator().manual_seed(seed))


def found(logits: Callable[..., Tensor], carried: Carried = (), others: Carried = ()) -> tuple[Written, Head]:
    module = Written(logits)
    return module, head_by_numbers(Head(module), activations(), carried, others)


def plain(head: Written, a: Tensor) -> Tensor:
    return F.linear(a.mean((2, 3)), head.weight, head.bias)


def by_places(head: Written, a: Tensor) -> Tensor:
    return F.conv2d(a, head.weight[:, :, None, None], head.bias).flatten(2).sum(2) / (a.shape[2] * a.shape[3])


def last(head: Written, a: Tensor) -> Tensor:
    return F.linear(a.permute(0, 2, 3, 1).flatten(1, 2).mean(1), head.weight, head.bias)


def averaged(head: Written, a: Tensor) -> Tensor:
    """Two heads of which the answers are averaged, as of a network that was distilled."""
    return (plain(head, a) + F.linear(a.mean((2, 3)), head.weight.flip(0))) / 2


def normed(head: Written, a: Tensor) -> Tensor:
    return F.linear(head.norm(a.mean((2, 3))), head.weight, head.bias)


def normed_matrix(head: Written) -> tuple[Tensor, Tensor]:
    """w / s and b - w m / s, where s = sqrt(var + eps), as a matrix and a bias."""
    assert head.norm.running_mean is not None
    assert head.norm.running_var is not None
    weight = head.weight / (head.norm.running_var + head.norm.eps).sqrt()
    return weight, head.bias - weight @ head.norm.running_mean


LINEAR: dict[Callable[..., Tensor], Callable[[Written], tuple[Tensor, Tensor]]] = {
    plain: lambda head: (head.weight, head.bias),
    by_places: lambda head: (head.weight, head.bias),
    last: lambda head: (head.weight, head.bias),
    averaged: lambda head: ((head.weight + head.weight.flip(0)) / 2, head.bias / 2),
    normed: normed_matrix,
}


@pytest.mark.parametrize("logits", LINEAR, ids=lambda logits: logits.__name__)
def test_what_is_a_mean_and_a_matrix_is_linear(logits: Callable[..., Tensor]) -> None:
    module, head = found(logits)
    assert isinstance(head, LinearHead)
    weight, bias = LINEAR[logits](module)
    torch.testing.assert_close(head.weight, weight)
    torch.testing.assert_close(head.bias, bias)
    for cells in ((5, 3), (1, 1), (7, 8)):
        torch.testing.assert_close(head.logits(activations(1, cells)), module(activations(1, cells)))


def test_a_matrix_that_is_a_layer_s_own_is_taken_as_it_is() -> None:
    module = Written(lambda head, a: head.layer(a.mean((2, 3))))
    module.layer = nn.Linear(CHANNELS, CLASSES)
    head = head_by_numbers(Head(module), activations(), (), ())
    assert isinstance(head, LinearHead)
    assert torch.equal(head.weight, module.layer.weight)


def rectified(head: Written, a: Tensor) -> Tensor:
    return plain(head, a).relu()


def rescaled(head: Written, a: Tensor) -> Tensor:
    return F.linear(F.layer_norm(a.mean((2, 3)), (CHANNELS,)), head.weight)


def largest(head: Written, a: Tensor) -> Tensor:
    return F.linear(a.amax((2, 3)), head.weight, head.bias)


def rectified_places(head: Written, a: Tensor) -> Tensor:
    return F.conv2d(a, head.weight[:, :, None, None]).relu().mean((2, 3))


def weighted(head: Written, a: Tensor) -> Tensor:
    """The first column counts twice."""
    return F.linear((a.sum((2, 3)) + a[..., 0].sum(2)) / (a.shape[2] * a.shape[3]), head.weight)


def constant(head: Written, a: Tensor) -> Tensor:
    """As before a classifier is trained that starts from zero."""
    return F.linear(0 * a.mean((2, 3)), head.weight, head.bias)


def of_fifteen_cells(head: Written, a: Tensor) -> Tensor:
    """Takes one size, and is not linear."""
    return plain(head, a.reshape(-1, CHANNELS, 5, 3)).tanh()


@pytest.mark.parametrize(
    ("logits", "kind"),
    [
        (rectified, "pooled"),
        (rescaled, "pooled"),
        (largest, "general"),
        (rectified_places, "general"),
        (weighted, "general"),
        (constant, "general"),
        (of_fifteen_cells, "general"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_no_mean_and_matrix_is_not_linear(logits: Callable[..., Tensor], kind: str) -> None:
    module, head = found(logits)
    assert head.kind == kind
    assert head.module is module


def test_what_depends_on_the_image_besides_is_no_bias() -> None:
    def logits(head: Written, a: Tensor, *carried: Tensor) -> Tensor:
        return plain(head, a) + carried[0]

    mine, other = torch.ones(1, CLASSES), torch.arange(4.0)[None]
    assert found(logits, (mine,), (other,))[1].kind == "pooled"
    module, head = found(logits, (mine,), (mine,))
    assert isinstance(head, LinearHead)
    torch.testing.assert_close(head.bias, module.bias + 1)


def test_a_head_that_fails_on_other_activations_stays_as_it_is() -> None:
    def logits(head: Written, a: Tensor) -> Tensor:
        if bool((a[..., 0, 0] == a[..., 1, 1]).all()):
            raise ValueError("the same everywhere")
        return plain(head, a)

    assert found(logits)[1].kind == "general"
