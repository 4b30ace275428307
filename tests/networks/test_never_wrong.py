"""Networks that look like others: what camserve says is the user's network's own answer, or it says that it is not.

Here: steps inside subclasses, steps in place, hooks, parametrisations, convolutions, BatchNorm. Every right value comes
from plain autograd on another instance of the module, see strangers.py.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from strangers import Cases, Stranger, body, right_or_said, seeded
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

pytestmark = pytest.mark.filterwarnings("ignore")
cases = Cases()


# Steps inside subclasses of torch's layers


class GatedNorm(nn.BatchNorm2d):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.gate = nn.Parameter(torch.linspace(-2, 2, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * torch.sigmoid(self.gate)[:, None, None]


@cases.right
class NormThatGates(Stranger):
    def build(self) -> None:
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), GatedNorm(8), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1))


class NormOfAbsolute(nn.BatchNorm2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.abs())


@cases.right
class NormWithAStepBefore(Stranger):
    def build(self) -> None:
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), NormOfAbsolute(8), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU())


class ActivatedConv(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.silu(super().forward(x))


@cases.right
class ConvThatActivatesBeforeItsNorm(Stranger):
    def build(self) -> None:
        self.body = nn.Sequential(
            ActivatedConv(3, 8, 3, 2, 1), nn.BatchNorm2d(8), ActivatedConv(8, 12, 3, 2, 1), nn.BatchNorm2d(12)
        )


class ClampedLinear(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight.clamp(-0.2, 0.2), self.bias)


@cases.right
class HeadThatClampsItsWeights(Stranger):
    def build(self) -> None:
        self.fc = ClampedLinear(12, 5)


class LowRankLinear(nn.Linear):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__(width, classes)
        self.down, self.up = nn.Linear(width, 2, bias=False), nn.Linear(2, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + self.up(self.down(x))


@cases.right
class HeadWithALowRankPart(Stranger):
    def build(self) -> None:
        self.fc = LowRankLinear(12, 5)


class SquaringLinear(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x * x.abs())


@cases.right
class HeadThatSquaresItsInput(Stranger):
    def build(self) -> None:
        self.fc = SquaringLinear(12, 5)


class Plateau(nn.ReLU):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(0.1, 0.6)


@cases.right
class ReluThatIsAPlateau(Stranger):
    def build(self) -> None:
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), Plateau(), nn.Conv2d(8, 12, 3, 2, 1), Plateau())


class PowerPool(nn.AdaptiveAvgPool2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.clamp(min=1e-3) ** 3) ** (1 / 3)


@cases.right
class AveragePoolThatIsAPowerMean(Stranger):
    def build(self) -> None:
        self.pool = PowerPool(1)

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(f).flatten(1))


class Gain(nn.Identity):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.linspace(0.2, 3, x.shape[1])[:, None, None]


@cases.right
class IdentityThatScales(Stranger):
    def build(self) -> None:
        self.gain = Gain()

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.gain(self.body(x))


class OldDropout(nn.Dropout):
    """Of the first kind: nothing is scaled while training, everything afterwards."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if self.training else x * (1 - self.p)


@cases.right
class DropoutThatScalesAfterTraining(Stranger):
    def build(self) -> None:
        self.drop = OldDropout(0.4)

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(self.drop(f.mean((2, 3))))


class Around(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)


@cases.right
class SequentialWithASkip(Stranger):
    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.skip(self.body(x))

    def build(self) -> None:
        self.skip = Around(nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 12, 3, 1, 1))


# BatchNorm


class Normed(Stranger):
    """conv, norm, ReLU, conv, norm, ReLU."""

    def norm(self, width: int) -> nn.Module:
        return nn.BatchNorm2d(width)

    def build(self) -> None:
        first, second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 12, 3, 2, 1)
        self.body = nn.Sequential(first, self.norm(8), nn.ReLU(), second, self.norm(12), nn.ReLU())


@cases.right
class NormWithoutStatistics(Normed):
    def norm(self, width: int) -> nn.Module:
        return nn.BatchNorm2d(width, track_running_stats=False)


@cases.right
class NormWithoutAffine(Normed):
    def norm(self, width: int) -> nn.Module:
        return nn.BatchNorm2d(width, affine=False)


@cases.right
class NormWithoutMomentum(Normed):
    def norm(self, width: int) -> nn.Module:
        return nn.BatchNorm2d(width, momentum=None, eps=0.1)


class AlwaysTraining(nn.BatchNorm2d):
    def train(self, mode: bool = True) -> Any:
        return super().train(True)


@cases.right
class NormInTrainingByDesign(Normed):
    def norm(self, width: int) -> nn.Module:
        return AlwaysTraining(width)


@cases.right
class NormOfInstances(Normed):
    def norm(self, width: int) -> nn.Module:
        return nn.InstanceNorm2d(width, affine=True, track_running_stats=True)


@cases.right
class NormUsedTwice(Stranger):
    def build(self) -> None:
        self.a, self.b, self.norm = nn.Conv2d(3, 12, 3, 2, 1), nn.Conv2d(12, 12, 3, 2, 1), nn.BatchNorm2d(12)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.b(F.relu(self.norm(self.a(x))))).relu()


@cases.right
class ConvUsedWithAndWithoutItsNorm(Stranger):
    def build(self) -> None:
        self.conv, self.norm = nn.Conv2d(12, 12, 3, 1, 1), nn.BatchNorm2d(12)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.conv(self.body(x))
        return F.relu(self.norm(f)) + self.conv(f)


@cases.right
class NormsThatShareTheirWeights(Stranger):
    def build(self) -> None:
        self.a, self.b = nn.Conv2d(3, 12, 3, 2, 1), nn.Conv2d(12, 12, 3, 2, 1)
        self.first, self.second = nn.BatchNorm2d(12), nn.BatchNorm2d(12)
        self.second.weight, self.second.bias = self.first.weight, self.first.bias

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.b(F.relu(self.first(self.a(x))))).relu()


@cases.right
class NormBetweenMeanAndHead(Stranger):
    def build(self) -> None:
        self.norm = nn.BatchNorm1d(12)

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(self.norm(f.mean((2, 3))))


# In place


@cases.right
class AddsOnALineOfItsOwn(Stranger):
    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        f.sub_(0.3).abs_()
        return f


@cases.right
class AugmentedAssignment(Stranger):
    also = ("body",)  # the square before the mean is part of the pooling: a power mean

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        x = x * 1
        x += x.mean((2, 3), keepdim=True)
        f = self.body(x)
        f **= 2
        return f


@cases.right
class ChangesItsInput(Stranger):
    def maps(self, x: torch.Tensor) -> torch.Tensor:
        x -= 0.7
        x[:, 1] *= 2
        return self.body(x)


@cases.right
class AssignsToChannels(Stranger):
    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        f[:, ::2] = f[:, 1::2] * 1.5
        f[:, 3] = 0
        f[..., :2, :] += 1
        return f


@cases.right
class WritesThroughAView(Stranger):
    also = ("body",)  # as the module gave it; what is written through a view of it comes later

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        rows = f.view(1, 12, -1).transpose(1, 2)
        rows[:, 5:20].mul_(3)
        return f


@cases.right
class WritesInTheHead(Stranger):
    def answer(self, f: torch.Tensor) -> torch.Tensor:
        pooled = f.mean((2, 3))
        pooled[:, :6] *= -2
        return self.fc(pooled)


@cases.right
class ReluWhoseResultIsNotTaken(Stranger):
    def build(self) -> None:
        self.body, self.relu = nn.Sequential(*list(body())[:-1]), nn.ReLU(inplace=True)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        self.relu(f)
        return f


@cases.unusual("out=")
class WritesWithOut(Stranger):
    """out= needs a forward without gradients, which is how classifiers are run."""

    def build(self) -> None:
        self.requires_grad_(False)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        kept = torch.empty_like(f)
        torch.mul(f, torch.linspace(-1, 2, 12)[:, None, None], out=kept)
        return kept


@cases.right
class FillsByMask(Stranger):
    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        f.masked_fill_(f > 0.8, 0.1)
        return f


@cases.right
class FillsAnEmptyTensor(Stranger):
    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        both = f.new_zeros(f.shape)
        both[:, :6] = f[:, 6:]
        both[:, 6:] = f[:, :6] * 2
        return both


@cases.unusual("in place|layer")
class WritesThroughData(Stranger):
    also = ("body",)  # what is written through .data is hidden from autograd, also on the uncut module

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        f.data.clamp_(max=0.4)
        return f


# Hooks and parametrisations


@cases.right
class HookOnTheLastConvolution(Stranger):
    def build(self) -> None:
        self.body[3].register_forward_hook(lambda m, args, out: out * torch.linspace(-1, 2, 12)[:, None, None])


@cases.right
class HookBeforeTheSecondConvolution(Stranger):
    def build(self) -> None:
        self.body[2].register_forward_pre_hook(lambda m, args: (args[0].flip(1),))


@cases.right
class HookOnTheHead(Stranger):
    def build(self) -> None:
        self.fc.register_forward_hook(lambda m, args, out: out * torch.tensor([1.0, -1, 2, -2, 0.5]))


@cases.right
class HookBeforeTheHead(Stranger):
    def build(self) -> None:
        self.fc.register_forward_pre_hook(lambda m, args: (args[0] ** 2,))


@cases.right
class HookOnTheWhole(Stranger):
    """Calibration as it is often bolted on."""

    def build(self) -> None:
        self.register_forward_hook(lambda m, args, out: self.calibrated(out))

    def calibrated(self, out: torch.Tensor) -> torch.Tensor:
        return out / 0.4 - torch.arange(5.0)

    def views(self) -> list[Any]:
        return [(self.maps, lambda f: self.calibrated(self.answer(f)), self.cells)]


@cases.right
class HookBeforeTheWhole(Stranger):
    def build(self) -> None:
        self.register_forward_pre_hook(lambda m, args: (args[0].flip(1),))

    def views(self) -> list[Any]:
        return [(lambda x: self.maps(x.flip(1)), self.answer, self.cells)]


def lower(module: nn.Module, args: Any, out: torch.Tensor) -> None:
    out.sub_(0.4)


@cases.right
class HookThatWritesInPlace(Stranger):
    def build(self) -> None:
        self.body[3].register_forward_hook(lower)


@cases.right
class WeightNormedHead(Stranger):
    def build(self) -> None:
        self.fc = parametrizations.weight_norm(nn.Linear(12, 5))

    def finish(self) -> Any:
        self.fc.parametrizations.weight.original0.data.mul_(torch.linspace(0.5, 4, 5)[:, None])
        return self


@cases.right
class WeightNormedOfOld(Stranger):
    """The weight is an attribute that a hook computes before each forward, so that it is stale until then."""

    def finish(self) -> Any:
        nn.utils.weight_norm(self.body[2])
        self.body[2].weight_g.data.mul_(3)
        return self


@cases.right
class SpectralNormedConvolutions(Stranger):
    def finish(self) -> Any:
        self.body.insert(1, nn.BatchNorm2d(8))
        for at in (0, 3):
            parametrizations.spectral_norm(self.body[at])
        return self


@cases.right
class PrunedHead(Stranger):
    def finish(self) -> Any:
        prune.random_unstructured(self.fc, "weight", 0.5)
        self.fc.weight_orig.data.mul_(2)
        return self


class Positive(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return F.softplus(weight) - 0.5


@cases.right
class OwnParametrisationBeforeANorm(Stranger):
    def build(self) -> None:
        first = nn.Conv2d(3, 8, 3, 2, 1)
        parametrize.register_parametrization(first, "weight", Positive())
        self.body = nn.Sequential(first, nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU())


@cases.right
class OwnParametrisationOfABias(Stranger):
    def build(self) -> None:
        parametrize.register_parametrization(self.fc, "bias", Positive())


# Convolutions


class StandardisedConv(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, w / (w.std((1, 2, 3), keepdim=True) + 1e-5), self.bias)


@cases.right
class StandardisedWeights(Stranger):
    def build(self) -> None:
        first, second = StandardisedConv(3, 8, 3, 2, 1), StandardisedConv(8, 12, 3, 2, 1)
        self.body = nn.Sequential(first, nn.BatchNorm2d(8), nn.ReLU(), second, nn.BatchNorm2d(12), nn.ReLU())


class LopsidedConv(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(F.pad(x, (0, 3, 2, 0), value=0.5))


@cases.right
class OwnPadding(Stranger):
    def build(self) -> None:
        first, second = LopsidedConv(3, 8, 3, 2), LopsidedConv(8, 12, 3, 2)
        self.body = nn.Sequential(first, nn.BatchNorm2d(8), nn.ReLU(), second, nn.BatchNorm2d(12), nn.ReLU())


class MaskedConv(nn.Conv2d):
    def __init__(self, channels: int, made: int, side: int, stride: int, padding: int) -> None:
        super().__init__(channels, made, side, stride, padding)
        self.register_buffer("mask", torch.ones(3, 3).tril(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(x, self.weight * self.mask, self.bias)


@cases.right
class MaskedWeights(Stranger):
    def build(self) -> None:
        self.body = nn.Sequential(MaskedConv(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), MaskedConv(8, 12, 3, 2, 1))


@cases.right
class ReflectedPaddingBeforeANorm(Stranger):
    def build(self) -> None:
        first = nn.Conv2d(3, 8, 3, 2, 1, padding_mode="reflect")
        second = nn.Conv2d(8, 12, 5, 2, 2, padding_mode="circular", bias=False)
        self.body = nn.Sequential(first, nn.BatchNorm2d(8), nn.ReLU(), second, nn.BatchNorm2d(12), nn.ReLU())


@cases.right
class TransposedConvolutionBeforeANorm(Stranger):
    def build(self) -> None:
        up = nn.ConvTranspose2d(8, 12, 4, 2, 1, groups=2)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), up, nn.BatchNorm2d(12), nn.ReLU())


class BinaryConv(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.weight.abs().mean((1, 2, 3))[:, None, None]
        return F.conv2d(x, self.weight.sign(), None, self.stride, self.padding) * scale


@cases.right
class BinaryWeightsBeforeANorm(Stranger):
    def build(self) -> None:
        self.body = nn.Sequential(BinaryConv(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), BinaryConv(8, 12, 3, 2, 1))


class Nothing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.half().float()


@cases.right
class ChunkedHead(Stranger):
    """Every class from a half of the features of its own."""

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        a, b = f.mean((2, 3)).chunk(2, 1)
        weight = self.fc.weight
        return torch.cat([a @ weight[:2, :6].T, b @ weight[2:, 6:].T], 1)


@cases.right
class StraightThrough(Stranger):
    def build(self) -> None:
        self.rounding = Nothing()

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.rounding(self.body(x))
        return f + ((f * 4).round() / 4 - f).detach()


@cases.unusual("gradient|detach|cut")
class HeadThatDetachesItsInput(Stranger):
    def build(self) -> None:
        self.inner = nn.Conv2d(12, 12, 3, 1, 1)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.body(x).detach())


@pytest.mark.parametrize(("kind", "words"), cases.values(), ids=list(cases))
def test_the_answer_and_the_map_are_the_networks_own(kind: Callable[[], Any], words: str | None) -> None:
    right_or_said(seeded(kind), words)
