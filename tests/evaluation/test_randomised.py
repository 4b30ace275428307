"""Copies of a network with random weights; and how alike two maps are."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from planted import Net
from torch import nn

from camserve.evaluation.randomised import cascade, with_weights
from camserve.graph.original.given import Given
from camserve.metrics.randomisation import spearman, ssim


class Odd(nn.Module):
    """Weights that nobody resets: a parameter of its own, attention's, and one that is used before it is made."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.place = nn.Parameter(torch.randn(1, 16, 8))
        self.patches = nn.Conv2d(3, 8, 8, 8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 32, 32) -> (N, 3)."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.place
        logits: torch.Tensor = self.head(self.attention(tokens, tokens, tokens)[0].mean(1))
        return logits


@pytest.fixture(params=[Net, Odd])
def given(request: pytest.FixtureRequest) -> Given:
    torch.manual_seed(0)
    return Given(request.param().eval().requires_grad_(False), 64 if request.param is Net else 32)


def changed(module: nn.Module, other: nn.Module) -> set[str]:
    pairs = zip(module.named_parameters(), other.parameters(), strict=True)
    return {name for (name, one), two in pairs if not torch.equal(one, two)}


def test_layers_become_random_from_the_answer_down(given: Given) -> None:
    before = copy.deepcopy(given.module)
    steps = list(cascade(given))
    shares, found = zip(*steps, strict=True)
    assert shares[-1] == 1
    assert list(shares) == sorted(set(shares))
    assert changed(found[0], before) <= {"head.weight", "head.bias"}
    assert "head.weight" in changed(found[0], before)
    for less, more in pairwise(found):  # a batch normalisation that was never trained stays as it is
        assert changed(less, before) <= changed(more, before)
    constant = {name for name, one in before.named_parameters() if one.min() == one.max()}
    assert changed(found[-1], before) >= {name for name, _ in before.named_parameters()} - constant
    assert not changed(given.module, before)


def test_a_seed_gives_the_same_weights_and_leaves_chance_alone(given: Given) -> None:
    state = torch.get_rng_state()
    one, same, other = ([*cascade(given, seed)][-1][1] for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert not changed(one, same)
    assert changed(one, other)


def test_weights_come_in_the_order_in_which_they_are_used() -> None:
    names = with_weights(Given(Odd().eval().requires_grad_(False), 32))
    assert names == ["", "patches", "attention", "attention.out_proj", "head"]


def test_ranks_are_what_correlates() -> None:
    """With Spearman's own formula, 1 - 6 sum d^2 / (n (n^2 - 1)): ranks 1 2 3 4 and 2 1 4 3."""
    assert spearman(np.array([[1, 2], [3, 4]]), np.array([[20, 10], [4000, 300]])) == pytest.approx(1 - 6 * 4 / 60)
    values = np.random.default_rng(0).normal(size=(9, 8))
    assert spearman(values, np.exp(values)) == pytest.approx(1)
    assert spearman(values, -values) == pytest.approx(-1)
    assert ssim(values, values) == pytest.approx(1)
    assert ssim(values, values[::-1]) < 0.5
