"""A head of cosines is seen however it is written, its maps add up, and its gradients hold the feature's length."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camserve.catalogue.head_kinds import HeadKind
from camserve.catalogue.methods import METHODS
from camserve.catalogue.targets import Target, class_target
from camserve.graph.cosine_head import CosineHead
from camserve.graph.heads import Head
from camserve.graph.linearity import head_by_numbers
from camserve.methods.apply import apply
from camserve.methods.evidence import Evidence

CHANNELS, FEATURES, CLASSES = 6, 5, 4


def normalised(f: Tensor, rows: Tensor) -> Tensor:
    return 100 * F.normalize(f) @ F.normalize(rows).T


def divided(f: Tensor, rows: Tensor) -> Tensor:
    return 30 * (f / f.norm(dim=-1, keepdim=True)) @ F.normalize(rows).T - 10


def compared(f: Tensor, rows: Tensor) -> Tensor:
    return 20 * F.cosine_similarity(f[:, None], rows[None], dim=-1)


def by_powers(f: Tensor, rows: Tensor) -> Tensor:
    """As transformers writes it."""
    length = torch.pow(torch.sum(torch.pow(f, 2), dim=-1, keepdim=True), 0.5)
    return 20 * (f / length) @ F.normalize(rows).T


def by_root(f: Tensor, rows: Tensor) -> Tensor:
    return 20 * (f * (f * f).sum(-1, keepdim=True).rsqrt()) @ F.normalize(rows).T + torch.arange(4.0)


WAYS = [normalised, divided, compared, by_powers, by_root]


class Written(nn.Module):
    """A head whose feature is made of the mean over places, or of all places where `pool` says so."""

    def __init__(self, way: Callable[[Tensor, Tensor], Tensor], pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        chance = torch.Generator().manual_seed(0)
        self.project = nn.Linear(CHANNELS, FEATURES).requires_grad_(False)
        self.project.weight.copy_(torch.randn(FEATURES, CHANNELS, generator=chance))
        self.project.bias.copy_(torch.randn(FEATURES, generator=chance))
        self.rows = torch.randn(CLASSES, FEATURES, generator=chance)
        self._way, self._pool = way, pool

    def feature(self, activations: Tensor) -> Tensor:
        made: Tensor = self.project(self._pool(activations))
        return made

    def forward(self, activations: Tensor, *carried: Tensor) -> Tensor:
        return self._way(self.feature(activations), self.rows)


def mean(a: Tensor) -> Tensor:
    return a.mean((2, 3))


def largest(a: Tensor) -> Tensor:
    return a.amax((2, 3))


def activations(count: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(count, CHANNELS, 5, 3, generator=torch.Generator().manual_seed(seed))


def found(way: Callable[[Tensor, Tensor], Tensor], pool: Callable[[Tensor], Tensor] = mean) -> tuple[Written, Head]:
    module = Written(way, pool).eval()
    return module, head_by_numbers(Head(module), activations(), (), ())


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_maps_add_up_to_the_logit_with_what_no_place_gives(way: Callable[[Tensor, Tensor], Tensor]) -> None:
    module, head = found(way)
    assert isinstance(head, CosineHead)
    assert head.kind is HeadKind.COSINE
    a = activations(2, seed=1)
    logits = module(a)
    torch.testing.assert_close(head.logits(a), logits, rtol=1e-5, atol=1e-4)
    rest = head.bias + (head.weight @ module.project.bias) / module.feature(a).norm(dim=1, keepdim=True)
    torch.testing.assert_close(head.class_maps(a).mean((2, 3)) + rest, logits, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(head.accounted(a), logits, rtol=1e-5, atol=1e-4)
    for index in range(CLASSES):
        cam = apply(METHODS["cam"], Evidence(a, head, class_target(index)))
        torch.testing.assert_close(head.class_maps(a)[:, index], cam)
    one = head.summands(a[1:])
    assert one is not None and one.weight is not None
    added = torch.einsum("ck,khw->chw", torch.from_numpy(one.weight), torch.from_numpy(one.values))
    torch.testing.assert_close(added, head.class_maps(a)[1])


@pytest.mark.parametrize("pool", [mean, largest])
def test_gradients_hold_the_length_of_the_feature(pool: Callable[[Tensor], Tensor]) -> None:
    """Against autograd through the same head with that length made a number."""
    module, head = found(normalised, pool)
    assert isinstance(head, CosineHead)
    a = activations(2, seed=1).requires_grad_()
    feature = module.feature(a)
    held = 100 * (feature / feature.norm(dim=1, keepdim=True).detach()) @ F.normalize(module.rows).T
    for target in (class_target(2), Target(0, against=1), lambda logits: logits.log_softmax(1)[:, 3]):
        (expected,) = torch.autograd.grad(target(held).sum(), a, retain_graph=True)
        torch.testing.assert_close(head.gradients(a.detach(), target), expected, rtol=1e-4, atol=1e-5)
    plain = torch.autograd.grad(module(a)[:, 2].sum(), a)[0]
    assert not torch.allclose(plain, head.gradients(a.detach(), class_target(2)), atol=1e-3)


def test_the_plain_gradient_sums_to_zero_where_the_feature_is_linear() -> None:
    module = Written(normalised, mean).eval()
    module.project.bias.zero_()
    a = activations(seed=1).requires_grad_()
    (plain,) = torch.autograd.grad(module(a)[:, 2].sum(), a)
    assert (plain * a).sum().abs() < 1e-4
    held = head_by_numbers(Head(module), activations(), (), ()).gradients(a.detach(), class_target(2))
    torch.testing.assert_close((held * a).sum(), module(a)[0, 2], rtol=1e-4, atol=1e-4)


def test_a_feature_that_is_no_mean_has_no_class_map() -> None:
    _, head = found(normalised, largest)
    assert isinstance(head, CosineHead)
    assert head.kind is HeadKind.GENERAL
    assert head.accounted(activations()) is None


def softened(f: Tensor, rows: Tensor) -> Tensor:
    return normalised(f, rows).softmax(1)


def lengthy(f: Tensor, rows: Tensor) -> Tensor:
    """The length counts, too."""
    return normalised(f, rows) + f.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("way", [softened, lengthy])
def test_what_is_more_than_a_cosine_is_none(way: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert not isinstance(found(way)[1], CosineHead)
