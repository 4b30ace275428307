"""Gradients as the formulas have them, also where torch errs or the network writes in place."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from camserve.errors import OptionError
from camserve.graph.differentiation import gradients, steady, writing_allowed


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()


def test_gradients_are_those_of_the_formula() -> None:
    x, y = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0])
    by_x, by_y = gradients(lambda leaf: (leaf[0] ** 2 * leaf[1]).sum(), [x, y])
    assert by_x.tolist() == [8, 20, 36]  # 2 x y
    assert by_y.tolist() == [1, 4, 9]  # x^2
    assert not x.requires_grad
    assert x.grad is None


def test_what_the_function_does_not_use_has_a_gradient_of_zeros() -> None:
    used, unused = gradients(lambda leaf: leaf[0].sum(), [torch.ones(2), torch.ones(3)])
    assert (used.tolist(), unused.tolist()) == ([1, 1], [0, 0, 0])


def test_gradients_are_had_where_autograd_is_off() -> None:
    with torch.no_grad():
        (gradient,) = gradients(lambda leaf: 3 * leaf[0].sum(), [torch.ones(2)])
    assert gradient.tolist() == [3, 3]


def written_over(leaf: Sequence[Tensor]) -> Tensor:
    """sum(2 exp(x)): the exponential, which its own gradient needs, is added to itself in place."""
    grown = leaf[0].exp()
    grown += grown.clone()
    return grown.sum()


def test_networks_that_write_into_their_own_activations_are_differentiated() -> None:
    x = torch.tensor([0.0, 1.0, -2.0])
    with pytest.raises(RuntimeError, match="inplace operation"):
        written_over([x.clone().requires_grad_()]).backward()
    (gradient,) = gradients(written_over, [x])
    torch.testing.assert_close(gradient, 2 * x.exp())
    with writing_allowed():
        leaf = x.clone().requires_grad_()
        (again,) = torch.autograd.grad(written_over([leaf]), leaf)
    assert torch.equal(again, gradient)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda leaf: leaf[0].detach().sum(), "does not require grad"),
        (lambda leaf: leaf[0] * 2, "grad can be implicitly created only for scalar"),
    ],
)
def test_where_there_is_no_gradient_a_sentence_says_what_to_do(
    function: Callable[[Sequence[Tensor]], Tensor], words: str
) -> None:
    with pytest.raises(
        OptionError, match=rf"torch cannot differentiate .*: .*{words}.* Try a method without gradients"
    ):
        gradients(function, [torch.ones(2)])


class Normed(nn.Module):
    """Behind a batch norm the places become tokens, each of which counts by weights of its own."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.norm, self.weights = nn.BatchNorm2d(4), values(1, height * width, 4, seed=7)
        self.norm.weight, self.norm.bias = nn.Parameter(values(4, seed=1)), nn.Parameter(values(4, seed=2))
        self.norm.running_mean, self.norm.running_var = values(4, seed=3), values(4, seed=4).abs() + 0.5

    def forward(self, x: Tensor) -> Tensor:
        """(1, 4, h, w) -> a number."""
        return (self.norm(x).flatten(2).transpose(1, 2) * self.weights).sum()

    def gradient(self, x: Tensor) -> Tensor:
        """By the formula: the weights of each place, times w / sqrt(v + eps)."""
        assert self.norm.running_var is not None
        scale = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        return (self.weights.transpose(1, 2).reshape(x.shape) * scale[:, None, None]).detach()


SIZES = pytest.mark.parametrize("size", [(5, 3), (7, 7)])


@SIZES
@pytest.mark.parametrize("grown", [False, True], ids=["once", "twice"])
def test_a_batch_norm_behind_which_maps_become_tokens(size: tuple[int, int], *, grown: bool) -> None:
    """Once with a batch norm alone; and where torch refuses at first, since something is written over."""
    net, x = Normed(*size).eval(), values(1, 4, *size, seed=9)
    (gradient,) = gradients(lambda leaf: net(leaf[0]) + (written_over(leaf) if grown else 0), [x])
    torch.testing.assert_close(gradient, net.gradient(x) + (2 * x.exp() if grown else 0))


def layout_met(net: Normed, *, steadied: bool) -> tuple[Tensor, bool]:
    """The gradient at the norm's input, and whether the norm was given one that lies row by row."""
    leaf, met = values(1, 4, 5, 3, seed=9).requires_grad_(), list[bool]()
    answer = net(leaf)
    answer = steady(answer) if steadied else answer
    step = answer.grad_fn
    while step is not None and "BatchNorm" not in step.name():
        step = step.next_functions[0][0]
    assert step is not None
    step.register_prehook(lambda given: met.append(given[0].is_contiguous()))
    return torch.autograd.grad(answer, leaf)[0], met[0]


def test_every_batch_norm_is_given_gradients_that_lie_row_by_row() -> None:
    net = Normed(5, 3).eval()
    gradient, contiguous = layout_met(net, steadied=True)
    assert contiguous
    torch.testing.assert_close(gradient, net.gradient(gradient))
    assert not layout_met(net, steadied=False)[1]


def test_a_score_of_which_nothing_is_recorded_is_left_alone() -> None:
    score = torch.tensor(3.0)
    assert steady(score) is score
