"""A batch norm is folded into the convolution before it where both are what their types say, and only there."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracles import lively
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from camserve.graph.trace import trace
from camserve.models.engines.torch_engine import fold_batch_norm, prepared

SIDE = 16


class Pair(nn.Module):
    """A convolution, a batch norm and a mean."""

    def __init__(self, conv: nn.Module | None = None, norm: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = conv or nn.Conv2d(3, 4, 3), norm or nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).sin().mean((2, 3))


class NormAndActivation(nn.BatchNorm2d):
    """As timm's, which hold the ReLU that comes behind them."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


class OddlyPadded(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, (1, 0, 0, 0), value=1.0))


class Standardised(nn.Conv2d):
    """Weights of mean 0, computed anew at each call."""

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)


class SamePadded(nn.Conv2d):
    """What camserve itself knows: a convolution that only pads otherwise, and says so."""

    same_padding = True

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, (0, 1, 0, 1)))


class Twice(Pair):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).sin().mean((2, 3)) + self.norm(self.conv(-x)).mean((2, 3))


class Beside(Pair):
    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return (self.norm(x).sin() + x).mean((2, 3))


def hooked() -> Pair:
    made = Pair()
    made.conv.register_forward_hook(lambda *call: call[2] * 2)
    return made


def hooked_before() -> Pair:
    made = Pair()
    made.norm.register_forward_pre_hook(lambda module, inputs: (inputs[0].abs(),))
    return made


def parametrised() -> Pair:
    made = Pair()
    parametrizations.weight_norm(made.conv)
    return made


def pruned() -> Pair:
    made = Pair()
    prune.l1_unstructured(made.conv, "weight", 0.5)
    return made


FOLDED: dict[str, Callable[[], Pair]] = {
    "plain": Pair,
    "without a bias": lambda: Pair(nn.Conv2d(3, 4, 3, bias=False)),
    "in groups, with a stride": lambda: Pair(nn.Conv2d(3, 6, 3, 2, 1, groups=3), nn.BatchNorm2d(6)),
    "padded as camserve pads": lambda: Pair(SamePadded(3, 4, 3)),
}
KEPT: dict[str, Callable[[], Any]] = {
    "a norm that holds an activation": lambda: Pair(norm=NormAndActivation(4)),
    "a convolution padded otherwise": lambda: Pair(OddlyPadded(3, 4, 3)),
    "weights computed in the call": lambda: Pair(Standardised(3, 4, 3)),
    "weights by parametrisation": parametrised,
    "pruned weights": pruned,
    "a hook": hooked,
    "a pre-hook": hooked_before,
    "statistics of the batch": lambda: Pair(norm=nn.BatchNorm2d(4, track_running_stats=False)),
    "another norm": lambda: Pair(norm=nn.GroupNorm(2, 4)),
    "a transposed convolution": lambda: Pair(nn.ConvTranspose2d(3, 4, 3)),
    "used twice": Twice,
    "read by another, too": Beside,
}


def images() -> Tensor:
    return torch.randn(2, 3, SIDE, SIDE + 3, generator=torch.Generator().manual_seed(1))


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d | nn.GroupNorm) for part in module.modules())


def settled(make: Callable[[], nn.Module]) -> nn.Module:
    return lively(make(), SIDE).requires_grad_(requires_grad=False)


@pytest.mark.parametrize("how", FOLDED)
def test_what_can_be_folded_is_and_answers_alike(how: str) -> None:
    net = settled(FOLDED[how])
    graph = trace(net)
    folded = fold_batch_norm(graph)
    assert (norms(folded), norms(graph)) == (0, 1)
    torch.testing.assert_close(folded(images()), net(images()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("how", KEPT)
def test_what_is_not_what_its_type_says_stays_as_it_is(how: str) -> None:
    net = settled(KEPT[how])
    graph = trace(net)
    assert fold_batch_norm(graph) is graph
    assert torch.equal(graph(images()), net(images()))


def test_the_folded_weights_are_those_of_the_formula() -> None:
    """w g / s and (b - m) g / s + beta, where s = sqrt(v + eps)."""
    net = settled(Pair)
    conv, norm = net.conv, net.norm
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    before = conv.weight.clone()
    made = fold_batch_norm(trace(net)).conv
    assert isinstance(made, nn.Conv2d)
    assert norm.running_var is not None
    gain = norm.weight / (norm.running_var + norm.eps).sqrt()
    torch.testing.assert_close(made.weight, conv.weight * gain[:, None, None, None])
    torch.testing.assert_close(made.bias, (conv.bias - norm.running_mean) * gain + norm.bias)
    assert torch.equal(conv.weight, before)


def test_a_parameter_of_four_axes_that_is_no_convolution_s_does_not_stop_it() -> None:
    class Expanded(Pair):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.full((1, 1, 1, 1), 2.0).expand(1, 4, 2, 2), requires_grad=False)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * self.scale.mean((2, 3))

    net = Expanded().eval().requires_grad_(requires_grad=False)
    torch.testing.assert_close(prepared(trace(net))(images()), net(images()), rtol=1e-4, atol=1e-5)
