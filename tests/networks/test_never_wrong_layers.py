"""As test_never_wrong.py: which layer is looked at, however the network pools and branches.

The oracle's layer is the last one that keeps places and leads to the answer. Where two are as good as each other, such
as the tokens before and after a norm, either will do.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from strangers import (
    Cases,
    Stranger,
    body,
    right_or_said,
    seeded,
)
from torch import nn

import camserve

pytestmark = pytest.mark.filterwarnings("ignore")
cases = Cases()
LAYER = "token|order|place|position|grid|where in the image"
PART = "branch|part of|several|besides|not all|" + LAYER


# Ways of pooling


@cases.right
class FlattenedMean(Stranger):
    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(f.flatten(2).mean(-1))


@cases.right
class EinsumMean(Stranger):
    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return torch.einsum("nkhw,ck->nc", f, self.fc.weight) / f[0, 0].numel() + self.fc.bias


@cases.right
class SumOverSize(Stranger):
    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(f.sum(dim=[-2, -1]) / (f.shape[2] * f.shape[3]))


@cases.right
class PoolOfTheWholeSize(Stranger):
    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(F.avg_pool2d(f, f.shape[-2:]).squeeze(-1).squeeze(-1))


@cases.right
class SumsInsteadOfMeans(Stranger):
    """The map's mean is not the logit: its sum is."""

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(f.sum((2, 3)) / 10)


@cases.right
class MeanOfAPart(Stranger):
    """The border is left out of the mean."""

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(f[:, :, 1:-1, 1:-1].mean((2, 3)))

    def views(self) -> list[Any]:
        part = lambda x: self.maps(x)[:, :, 1:-1, 1:-1]  # noqa: E731
        return [*super().views(), (part, super().answer, self.cells)]


@cases.right
class MeanWithAnOffset(Stranger):
    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(f.mean((2, 3)) - 0.3) * 2 + 1


@cases.right
class LogSumExpPool(Stranger):
    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc((f * 4).logsumexp((2, 3)) / 4)


@cases.right
class MaximumBesideMean(Stranger):
    def build(self) -> None:
        self.fc = nn.Linear(24, 5)

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.cat([f.mean((2, 3)), f.amax((2, 3))], 1))


@cases.right
class MeanBesideDeviation(Stranger):
    def build(self) -> None:
        self.fc = nn.Linear(24, 5)

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.cat([f.mean((2, 3)), f.std((2, 3))], 1))


@cases.right
class PowerMean(Stranger):
    def build(self) -> None:
        self.power = nn.Parameter(torch.full((1,), 3.0))

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.rest(self.raised(f))

    def raised(self, f: torch.Tensor) -> torch.Tensor:
        return f.clamp(min=1e-4).pow(self.power)

    def rest(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(F.avg_pool2d(f, (f.size(-2), f.size(-1))).pow(1 / self.power).flatten(1))

    def views(self) -> list[Any]:
        return [*super().views(), (lambda x: self.raised(self.maps(x)), self.rest, self.cells)]


@cases.right
class BestFourPlaces(Stranger):
    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(f.flatten(2).topk(4, dim=-1).values.mean(-1))


@cases.right
class GatedAttentionPool(Stranger):
    """Scores from two branches; the scorer's one channel is no map of features."""

    def build(self) -> None:
        self.v, self.u, self.w = nn.Conv2d(12, 6, 1), nn.Conv2d(12, 6, 1), nn.Conv2d(6, 1, 1)

    def weighed(self, f: torch.Tensor) -> torch.Tensor:
        scores = self.w(self.v(f).tanh() * self.u(f).sigmoid()) * 5
        weights = scores.flatten(2).softmax(-1).view_as(scores)
        return f * weights

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(self.weighed(f).sum((2, 3)))

    def views(self) -> list[Any]:
        last = lambda x: self.weighed(self.maps(x))  # noqa: E731
        return [*super().views(), (last, lambda f: self.fc(f.sum((2, 3))), self.cells)]


@cases.right
class WeightsForPlaces(Stranger):
    def build(self) -> None:
        self.places = nn.Parameter(torch.linspace(-0.5, 2, 64).view(1, 1, 8, 8))

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc((f * self.places).mean((2, 3)) * 10)

    def views(self) -> list[Any]:
        last = lambda x: self.maps(x) * self.places  # noqa: E731
        return [*super().views(), (last, lambda f: self.fc(f.mean((2, 3)) * 10), self.cells)]


@cases.right
class CorrelationsOfChannels(Stranger):
    """Bilinear pooling: channels against channels, which is square but no place."""

    def build(self) -> None:
        self.fc = nn.Linear(144, 5)

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        a = f.flatten(2)
        gram = a @ a.transpose(1, 2) / a.shape[2]
        return self.fc(gram.flatten(1))


@cases.right
class PooledToFourThenFlat(Stranger):
    def build(self) -> None:
        self.pool, self.fc = nn.AdaptiveAvgPool2d(2), nn.Sequential(nn.Flatten(), nn.Linear(48, 9), nn.Tanh())
        self.last = nn.Linear(9, 5)

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.last(self.fc(self.pool(f)))

    def views(self) -> list[Any]:
        before = lambda x: self.pool(self.maps(x))  # noqa: E731
        return [*super().views(), (before, lambda f: self.last(self.fc(f)), self.cells)]


@cases.right
class FlatWithoutPooling(Stranger):
    def build(self) -> None:
        self.fc = nn.Linear(768, 5)

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(f.reshape(f.shape[0], -1))


@cases.right
class StridedToOneCell(Stranger):
    """Convolutions down to 1 x 1: a map of one cell is none."""

    def build(self) -> None:
        self.down = nn.Sequential(nn.Conv2d(12, 16, 4, 4), nn.ReLU(), nn.Conv2d(16, 5, 2))

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.down(f).flatten(1)

    def views(self) -> list[Any]:
        return [*super().views(), (lambda x: self.down[1](self.down[0](self.maps(x))), self.rest, self.cells)]

    def rest(self, f: torch.Tensor) -> torch.Tensor:
        return self.down[2](f).flatten(1)


@cases.right
class ClassMapsThenMaximum(Stranger):
    def build(self) -> None:
        self.last = nn.Conv2d(12, 5, 1)

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.last(f).amax((2, 3))

    def views(self) -> list[Any]:
        return [*super().views(), (lambda x: self.last(self.maps(x)), lambda f: f.amax((2, 3)), self.cells)]


@cases.right
class ClassMapsThenSpread(Stranger):
    """Every place votes with softmax over the classes; the votes are averaged, and taken back to logits."""

    def build(self) -> None:
        self.last = nn.Conv2d(12, 5, 1)

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.pooled(self.votes(f))

    def votes(self, f: torch.Tensor) -> torch.Tensor:
        return (self.last(f) * 3).softmax(1)

    def pooled(self, votes: torch.Tensor) -> torch.Tensor:
        return votes.mean((2, 3)).log() * 3 + 4

    def views(self) -> list[Any]:
        return [*super().views(), (lambda x: self.votes(self.maps(x)), self.pooled, self.cells)]


@cases.right
class DistancesToPrototypes(Stranger):
    def build(self) -> None:
        self.prototypes, self.fc = nn.Parameter(torch.rand(10, 12)), nn.Linear(10, 5, bias=False)

    def near(self, f: torch.Tensor) -> torch.Tensor:
        distance = (f[:, None] - self.prototypes[None, :, :, None, None]).square().sum(2)
        return ((distance + 1) / (distance + 1e-2)).log()

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.vote(self.near(f))

    def vote(self, near: torch.Tensor) -> torch.Tensor:
        return self.fc(F.max_pool2d(near, near.shape[2:]).flatten(1)) * 3

    def views(self) -> list[Any]:
        return [*super().views(), (lambda x: self.near(self.maps(x)), self.vote, self.cells)]


# Branches


@cases.right
class GateBehindTheLastMap(Stranger):
    def build(self) -> None:
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, 12, 1), nn.Sigmoid())

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        return f * self.squeeze(f)


@cases.right
class GateBehindTheMean(Stranger):
    """The features are gated once they are pooled, so the head is not linear in the maps."""

    def build(self) -> None:
        self.gate = nn.Linear(12, 12)

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        z = f.mean((2, 3))
        return self.fc(z * self.gate(z * 4).sigmoid())


@cases.unusual(PART)
class TwoBackbonesAdded(Stranger):
    """Half of the logit comes from maps that are not looked at, whichever are."""

    def build(self) -> None:
        self.other, self.second = body(), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body(x).mean((2, 3))) + self.second(self.other(x.flip(1)).mean((2, 3)))

    def views(self) -> list[Any]:
        both = lambda x: torch.cat([self.body(x), self.other(x.flip(1))], 1)  # noqa: E731
        head = lambda f: self.fc(f[:, :12].mean((2, 3))) + self.second(f[:, 12:].mean((2, 3)))  # noqa: E731
        return [(both, head, self.cells)]


@cases.unusual(PART)
class LogitsFromTwoScales(Stranger):
    """The head reads the first stage, too; what the last one gives is only a part of the logit."""

    def build(self) -> None:
        self.early = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body[:2](x)
        return self.early(f.mean((2, 3))) * 3 + self.fc(self.body[2:](f).mean((2, 3)))

    def views(self) -> list[Any]:
        late = lambda f: self.early(f.mean((2, 3))) * 3 + self.fc(self.body[2:](f).mean((2, 3)))  # noqa: E731
        return [(self.body[:2], late, self.cells)]


@cases.right
class SideBranchThatIsDropped(Stranger):
    """A decoder runs last and leads nowhere."""

    def build(self) -> None:
        self.decoder = nn.Sequential(nn.ConvTranspose2d(12, 8, 2, 2), nn.ReLU(), nn.Conv2d(8, 3, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = self.maps(x)
        out = self.answer(f)
        self.decoder(f)
        return out


@cases.right
class TableOfPlacesLast(Stranger):
    """A parameter with four axes, made from smaller ones behind the last convolution, is no map of the picture."""

    def build(self) -> None:
        self.rows, self.columns = nn.Parameter(torch.randn(1, 12, 8, 1)), nn.Parameter(torch.randn(1, 12, 1, 8))
        self.mix = nn.Conv2d(12, 12, 1)

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        table = self.mix(self.rows + self.columns)
        return self.fc(f.mean((2, 3)) + (table * 0.1).mean((2, 3)))


@cases.right
class GridThatGrowsAgain(Stranger):
    """As a U-net: the last map is finer than the middle one."""

    def build(self) -> None:
        self.down, self.up = nn.Conv2d(12, 16, 3, 2, 1), nn.Conv2d(28, 12, 3, 1, 1)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        deep = F.interpolate(F.relu(self.down(f)), size=f.shape[2:], mode="nearest")
        return F.relu(self.up(torch.cat([deep, f], 1)))


@cases.unusual(PART)
class HypercolumnsOfTwoStages(Stranger):
    def build(self) -> None:
        self.fc = nn.Linear(20, 5)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        early = self.body[:2](x)
        late = F.interpolate(self.body[2:](early), scale_factor=2, mode="bilinear")
        return torch.cat([early, late], 1)


@cases.right
class ChannelsLastMean(Stranger):
    def build(self) -> None:
        self.norm, self.mix = nn.LayerNorm(12), nn.Linear(12, 12)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(F.gelu(self.norm(self.body(x).permute(0, 2, 3, 1))))

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(f.mean((1, 2)))

    def cells(self, f: torch.Tensor) -> torch.Tensor:
        return f.permute(0, 3, 1, 2)


@cases.right
class AsWideAsItsChannels(Stranger):
    """12 channels of 12 columns, in a head that nothing is known of: either axis could be the channels."""

    side = 48

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(f.square().mean((2, 3)).sqrt())

    def views(self) -> list[Any]:
        squared = lambda x: self.maps(x).square()  # noqa: E731
        return [*super().views(), (squared, lambda f: self.fc(f.mean((2, 3)).sqrt()), self.cells)]


@cases.unusual(PART + "|batch|views|copies")
class BothMirrorImages(Stranger):
    """Two views of the picture in one batch, inside the network."""

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(torch.cat([x, x.flip(3)]))

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(f.mean((2, 3))).mean(0, keepdim=True)

    def cells(self, f: torch.Tensor) -> torch.Tensor:
        return torch.cat([f[:1], f[1:].flip(3)], 1)


@cases.unusual(LAYER)
class NothingThatKeepsPlaces(Stranger):
    """Every pixel into one linear layer."""

    def build(self) -> None:
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(3072, 16), nn.ReLU(), nn.Linear(16, 5))

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(f)


@pytest.mark.parametrize(("kind", "words"), cases.values(), ids=list(cases))
def test_the_answer_and_the_map_are_the_networks_own(kind: Callable[[], Any], words: str | None) -> None:
    right_or_said(seeded(kind), words)


def test_as_many_channels_as_classes_before_a_linear_layer_are_no_class_maps() -> None:
    body = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.ReLU())
    net = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 6))
    model = camserve.load(net, size=32)
    assert (model.default_layer, model.layer().head.kind) == ("0", "linear")
    assert camserve.load(nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten()), size=32).default_layer == "0.0"
