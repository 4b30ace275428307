"""As test_never_wrong.py: which layer is looked at, which cell is which place, which sizes are taken.

The oracle's layer is the last one that keeps places and leads to the answer. Where two are as good as each other, such
as the tokens before and after a norm, either will do.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from strangers import (
    Cases,
    Stranger,
    body,
    check,
    check_refusal,
    is_said,
    loaded,
    picture,
    right_or_said,
    seeded,
    truth,
)
from torch import nn

import camserve

pytestmark = pytest.mark.filterwarnings("ignore")
cases = Cases()
LAYER = "token|order|place|position|grid"
PART = "branch|part of|several|besides|not all|" + LAYER


class Staged(Stranger):
    """forward is one step after another; `good` counts the steps before each layer that will do."""

    good: tuple[int, ...] = (1,)

    def steps(self) -> list[Callable[..., Any]]:
        return [self.maps, self.answer]

    def forward(self, x: torch.Tensor) -> Any:
        for step in self.steps():
            x = step(x)
        return x

    def views(self) -> list[Any]:
        steps = self.steps()
        return [(chain(steps[:at]), chain(steps[at:]), self.cells) for at in self.good]


def chain(steps: list[Callable[..., Any]]) -> Callable[..., Any]:
    def run(x: Any) -> Any:
        for step in steps:
            x = step(x)
        return x

    return run


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


@cases.right
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


# Tokens


class Block(nn.Module):
    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.norm, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        return self.behind(t, self.norm(t))

    def behind(self, t: torch.Tensor, normed: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(normed).chunk(3, -1)
        t = t + self.out((q @ k.transpose(-2, -1) / 3).softmax(-1) @ v)
        return t + self.mlp(self.after(t))


class Tokens(Staged):
    """4 x 4 patches of 8 pixels. Steps: patches, block, last block, norm, pooling and head."""

    good = (3, 4)
    before, behind = 0, 0  # tokens that are no places

    def build(self) -> None:
        self.patches = nn.Conv2d(3, 12, 8, 8)
        self.position = nn.Parameter(torch.randn(1, 16, 12) * 0.5)
        self.special = nn.Parameter(torch.randn(1, max(1, self.before + self.behind), 12))
        self.blocks, self.norm = nn.ModuleList([Block(), Block()]), nn.LayerNorm(12)
        self.more()

    def more(self) -> None: ...

    def steps(self) -> list[Callable[..., Any]]:
        return [self.start, *self.blocks, self.norm, self.read]

    def start(self, x: torch.Tensor) -> torch.Tensor:
        t = self.patched(x)
        parts = [self.special[:, : self.before], t, self.special[:, self.before :]]
        return torch.cat(parts, 1) if self.before + self.behind else t

    def patched(self, x: torch.Tensor) -> torch.Tensor:
        return self.patches(x).flatten(2).transpose(1, 2) + self.position

    def read(self, t: torch.Tensor) -> torch.Tensor:
        return self.fc(t.mean(1))

    def cells(self, t: torch.Tensor) -> torch.Tensor:
        places = t[:, self.before : t.shape[1] - self.behind]
        return places.transpose(1, 2).reshape(1, -1, 4, 4)


@cases.right
class MeanOfTokens(Tokens): ...


class ReadsOneToken(Tokens):
    """What the last block gives at places leads nowhere: the layer is before it, or its own norm of that."""

    good = (2,)
    before = 1

    def read(self, t: torch.Tensor) -> torch.Tensor:
        return self.fc(t[:, 0])

    def views(self) -> list[Any]:
        first, last = self.blocks
        inner = lambda x: first(self.start(x))  # noqa: E731

        def normed(x: torch.Tensor) -> torch.Tensor:
            t = inner(x)
            return torch.cat([last.norm(t), t], 2)

        def rest(both: torch.Tensor) -> torch.Tensor:
            return self.read(self.norm(last.behind(both[..., 12:].detach(), both[..., :12])))

        return [*super().views(), (normed, rest, lambda t: self.cells(t)[:, :12])]


@cases.right
class ClassTokenFirst(ReadsOneToken): ...


@cases.unusual(LAYER)
class ClassTokenLast(ReadsOneToken):
    before, behind = 0, 1

    def read(self, t: torch.Tensor) -> torch.Tensor:
        return self.fc(t[:, -1])


@cases.right
class ClassAndTeacherTokens(ReadsOneToken):
    before = 2

    def more(self) -> None:
        self.teacher = nn.Linear(12, 5)

    def read(self, t: torch.Tensor) -> torch.Tensor:
        return (self.fc(t[:, 0]) + self.teacher(t[:, 1])) / 2


@cases.right
class NineRegisters(Tokens):
    """16 places and 9 registers: 25 tokens, which would fill a square."""

    behind = 9

    def read(self, t: torch.Tensor) -> torch.Tensor:
        return self.fc(t[:, :16].mean(1))


@cases.right
class NineRegistersBefore(Tokens):
    before = 9

    def read(self, t: torch.Tensor) -> torch.Tensor:
        return self.fc(t[:, 9:].mean(1))


@cases.unusual(LAYER)
class ColumnByColumn(Tokens):
    """Square, so that nothing but its values tells that the order is another."""

    def patched(self, x: torch.Tensor) -> torch.Tensor:
        return self.patches(x).transpose(2, 3).flatten(2).transpose(1, 2) + self.position

    def cells(self, t: torch.Tensor) -> torch.Tensor:
        return super().cells(t).transpose(2, 3)


@cases.unusual(LAYER)
class BackwardsTokens(Tokens):
    def patched(self, x: torch.Tensor) -> torch.Tensor:
        return super().patched(x).flip(1)

    def cells(self, t: torch.Tensor) -> torch.Tensor:
        return super().cells(t).flip(2, 3)


@cases.unusual(LAYER)
class WindowByWindow(Tokens):
    """Four windows of 2 x 2, one after the other."""

    def patched(self, x: torch.Tensor) -> torch.Tensor:
        f = self.patches(x).view(1, 12, 2, 2, 2, 2).permute(0, 2, 4, 3, 5, 1)
        return f.reshape(1, 16, 12) + self.position

    def cells(self, t: torch.Tensor) -> torch.Tensor:
        return t.view(1, 2, 2, 2, 2, 12).permute(0, 5, 1, 3, 2, 4).reshape(1, 12, 4, 4)


@cases.right
class SequenceFirst(Tokens):
    """(tokens, batch, width), as torch's own attention has it by default."""

    good = (2,)

    def more(self) -> None:
        self.attention = nn.MultiheadAttention(12, 2)

    def steps(self) -> list[Callable[..., Any]]:
        return [lambda x: self.patched(x).transpose(0, 1), self.mix, self.read]

    def mix(self, t: torch.Tensor) -> torch.Tensor:
        return t + self.attention(t, t, t, need_weights=False)[0] * 3

    def read(self, t: torch.Tensor) -> torch.Tensor:
        return self.fc(t.mean(0))

    def cells(self, t: torch.Tensor) -> torch.Tensor:
        return super().cells(t.transpose(0, 1))


@cases.right
class TorchsOwnEncoder(Tokens):
    """Its fused path runs only without gradients."""

    good = (2,)

    def more(self) -> None:
        layer = nn.TransformerEncoderLayer(12, 2, 24, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def steps(self) -> list[Callable[..., Any]]:
        return [self.patched, self.encoder, self.read]


@cases.right
class UnfoldedPatches(Tokens):
    """No convolution anywhere."""

    def more(self) -> None:
        self.project = nn.Linear(192, 12)

    def patched(self, x: torch.Tensor) -> torch.Tensor:
        return self.project(F.unfold(x, 8, stride=8).transpose(1, 2)) + self.position


@cases.right
class ReshapedPatches(Tokens):
    def more(self) -> None:
        self.project = nn.Linear(192, 12)

    def patched(self, x: torch.Tensor) -> torch.Tensor:
        p = x.reshape(x.shape[0], 3, 4, 8, 4, 8).permute(0, 2, 4, 3, 5, 1).reshape(x.shape[0], 16, 192)
        return self.project(p) + self.position


@cases.unusual(LAYER)
class RecurrentOverTokens(Tokens):
    """The last state of a GRU: every token before counts."""

    good = (1,)

    def more(self) -> None:
        self.gru = nn.GRU(12, 12, batch_first=True)

    def steps(self) -> list[Callable[..., Any]]:
        return [self.patched, lambda t: self.gru(t)[0][:, -1], self.fc]


@cases.right
class BothWaysOverTokens(Tokens):
    good = (1, 2)

    def more(self) -> None:
        self.lstm, self.fc = nn.LSTM(12, 6, batch_first=True, bidirectional=True), nn.Linear(12, 5)

    def steps(self) -> list[Callable[..., Any]]:
        return [self.patched, lambda t: self.lstm(t)[0], lambda t: self.fc(t.amax(1))]


class Mixing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.channels, self.norm = nn.Linear(16, 16), nn.Linear(12, 12), nn.LayerNorm(12)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        t = t + F.gelu(self.tokens(self.norm(t).transpose(1, 2))).transpose(1, 2)
        return t + F.gelu(self.channels(t))


@cases.right
class MixerOfTokens(Tokens):
    def more(self) -> None:
        self.blocks = nn.ModuleList([Mixing(), Mixing()])


@cases.right
class AttentionPoolOverTokens(Tokens):
    """A learned query; tokens themselves are untouched until then."""

    def read(self, t: torch.Tensor) -> torch.Tensor:
        weights = (self.special @ t.transpose(1, 2)).softmax(-1)
        return self.fc((weights @ t)[:, 0])


@cases.unusual(LAYER)
class LatentsThatFillASquare(Tokens):
    """16 latents ask 16 places: as many, but they are none."""

    good = (1,)

    def more(self) -> None:
        self.latents, self.kv = nn.Parameter(torch.randn(1, 16, 12)), nn.Linear(12, 24)

    def ask(self, t: torch.Tensor) -> torch.Tensor:
        k, v = self.kv(t).chunk(2, -1)
        return self.latents + (self.latents @ k.transpose(1, 2)).softmax(-1) @ v

    def steps(self) -> list[Callable[..., Any]]:
        return [self.patched, self.ask, *self.blocks, self.norm, self.read]


@cases.unusual(LAYER)
class KeepsItsBestNineTokens(Tokens):
    """The nine strongest tokens go on, and would fill a square, too."""

    good = (2,)

    def prune(self, t: torch.Tensor) -> torch.Tensor:
        order = t.norm(dim=2).topk(9, dim=1).indices
        return t.gather(1, order[..., None].expand(-1, -1, 12))

    def steps(self) -> list[Callable[..., Any]]:
        first, second = self.blocks
        return [self.patched, first, self.prune, second, self.norm, self.read]


@cases.unusual(LAYER)
class ShufflesItsTokens(Tokens):
    """In an order that no reshape brings back."""

    def more(self) -> None:
        self.register_buffer("order", torch.randperm(16))

    def patched(self, x: torch.Tensor) -> torch.Tensor:
        return super().patched(x)[:, self.order]

    def cells(self, t: torch.Tensor) -> torch.Tensor:
        return super().cells(t[:, torch.argsort(self.order)])


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


# Where cells lie


class LooksAtACorner(Stranger):
    side = 64

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x[..., 24:, 20:])


class LooksAtACornerOfItsMaps(Stranger):
    side = 64

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)[:, :, 6:, 5:]


class LooksInAMirror(Stranger):
    side = 64

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x.flip(-1))


class LooksAtTheTransposed(Stranger):
    side = 64

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x.transpose(2, 3))


class ShrinksFirst(Stranger):
    side = 64

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(F.interpolate(x, (24, 24), mode="bilinear"))


class StridesOfThree(Stranger):
    side = 64

    def build(self) -> None:
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 3, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, 3), nn.ReLU())


class RollsItsMaps(Stranger):
    side = 64

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return torch.roll(self.body(x), (4, 4), (2, 3))


PLACED = [
    Stranger,
    LooksAtACorner,
    LooksAtACornerOfItsMaps,
    LooksInAMirror,
    LooksAtTheTransposed,
    ShrinksFirst,
    StridesOfThree,
    RollsItsMaps,
]


@pytest.mark.parametrize("kind", PLACED)
def test_a_cell_lies_where_its_pixels_are(kind: Callable[[], Any]) -> None:
    """The centre of every cell is among the pixels that its value depends on; or camserve says that it cannot tell."""
    make, image = seeded(kind), picture(64)
    try:
        explanation = loaded(make(), side=64).explain(image, method="gradcam")
    except camserve.CamserveError as error:
        check_refusal(error)
        return
    if is_said(explanation, "place|where|crop|mirror|flip|position|cell"):
        return
    net, x = make().eval(), torch.rand(1, 3, 64, 64, requires_grad=True)
    maps = net.maps(x)
    assert explanation.map.shape == maps.shape[2:]
    height, width = maps.shape[2:]
    for u, v in [(0, 0), (width - 1, 0), (1, height - 2), (width // 2, height - 1)]:
        (gradient,) = torch.autograd.grad(maps[0, :, v, u].sum(), x, retain_graph=True)
        rows, columns = (gradient[0].abs().sum(0) > 0).nonzero(as_tuple=True)
        if rows.numel() == 0:
            continue
        px, py = explanation.placement.cell_centre(u, v)
        box = [int(t) for t in (columns.min(), columns.max(), rows.min(), rows.max())]
        assert box[0] - 1 <= px <= box[1] + 1 and box[2] - 1 <= py <= box[3] + 1, (
            f"cell {u, v} at {px, py}, field {box}"
        )


# Any size


class Ceiled(Stranger):
    def build(self) -> None:
        pool = nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), pool, nn.MaxPool2d(2, 2, ceil_mode=True))
        self.last = nn.Conv2d(8, 12, 3, 1, 1)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(x)).relu()


class Reflected(Stranger):
    def build(self) -> None:
        pads = nn.ReflectionPad2d((2, 3, 1, 4)), nn.ReplicationPad2d(1)
        self.body = nn.Sequential(pads[0], nn.Conv2d(3, 8, 5, 3), nn.ReLU(), pads[1], nn.Conv2d(8, 12, 3, 2), nn.ReLU())


class Dilated(Stranger):
    def build(self) -> None:
        second = nn.Conv2d(8, 12, 3, 1, 4, dilation=3)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 3, 2, dilation=2), nn.BatchNorm2d(8), nn.ReLU(), second, nn.ReLU())


class PadsToTheStride(Stranger):
    """As many as are missing, at the right and the bottom."""

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(F.pad(x, (0, -x.shape[3] % 8, 0, -x.shape[2] % 8)))


@pytest.mark.parametrize("size", [(33, 33), (31, 47), (50, 29), (64, 32)])
@pytest.mark.parametrize("kind", [Stranger, Ceiled, Reflected, Dilated, PadsToTheStride])
def test_odd_sizes(kind: Callable[[], Any], size: tuple[int, int]) -> None:
    make, image = seeded(kind), picture(*size)
    explanation = loaded(make()).explain(image, method="gradcam", size="native")
    check(explanation, truth(make, image))


class FixedTable(Stranger):
    """A stem of 16 x 16 patches and a table for the size trained at: 17 pixels more give a cell more, 5 do not."""

    side = 64

    def build(self) -> None:
        self.stem, self.table = nn.Conv2d(3, 12, 16, 16), nn.Parameter(torch.randn(1, 16, 12))
        self.block = Block()

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(self.stem(x).flatten(2).transpose(1, 2) + self.table)

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(f.mean(1))

    def cells(self, f: torch.Tensor) -> torch.Tensor:
        return f.transpose(1, 2).reshape(1, 12, 4, -1)


class AnyTokens(Stranger):
    """Tokens of any number: their grid is the picture's, not the one trained at."""

    side = 64

    def build(self) -> None:
        self.stem, self.block = nn.Conv2d(3, 12, 8, 8), Block()

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        self.grid = (x.shape[2] // 8, x.shape[3] // 8)
        return self.block(self.stem(x).flatten(2).transpose(1, 2))

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(f.mean(1))

    def cells(self, f: torch.Tensor) -> torch.Tensor:
        return f.transpose(1, 2).reshape(1, 12, *self.grid)


class MultiplesOf16(Stranger):
    """Halves and doubles again, and adds the two: other sizes do not fit."""

    side = 64

    def build(self) -> None:
        self.down, self.up = nn.Conv2d(12, 12, 4, 4), nn.ConvTranspose2d(12, 12, 4, 4)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        return f + self.up(self.down(f)).relu()


class OneSizeOnly(Stranger):
    side = 64

    def build(self) -> None:
        self.fc = nn.Linear(12 * 256, 5)

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(f.flatten(1))


class HeadWithoutPooling(Stranger):
    """A pool of a fixed window, then flatten: exactly 64 to 95 pixels."""

    side = 64

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return self.fc(F.avg_pool2d(f, 16).flatten(1))


PARTIAL = [FixedTable, AnyTokens, MultiplesOf16, OneSizeOnly, HeadWithoutPooling]


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (64, 128), (72, 81)])
@pytest.mark.parametrize("kind", PARTIAL)
def test_a_size_is_taken_or_refused(kind: Callable[[], Any], size: tuple[int, int]) -> None:
    """At `native` the input is the picture; a refusal is right only where the network itself does not take it."""
    make, image = seeded(kind), picture(*size)
    try:
        expected = truth(make, image)
    except RuntimeError:
        expected = None
    try:
        explanation = loaded(make(), side=64).explain(image, method="gradcam", size="native")
    except camserve.CamserveError as error:
        check_refusal(error)
        assert expected is None, f"the network takes {size}: {error}"
        return
    if explanation.placement.frame.input != size:  # squeezed to what it takes: then words say so
        assert explanation.warnings
    elif expected is None:
        assert explanation.warnings, "an answer that the network does not give, without a word"
    else:
        check(explanation, expected)


@pytest.mark.parametrize("kind", PARTIAL)
def test_any_picture_can_be_explained_as_it_comes(kind: Callable[[], Any]) -> None:
    """A plain picture is the same after any resampling, so the input is known whatever its size."""
    make, image = seeded(kind), np.full((64, 112, 3), (40, 200, 90), np.uint8)
    explanation = loaded(make(), side=64).explain(image, method="gradcam")
    width, height = explanation.placement.frame.input
    seen = np.full((height, width, 3), (40, 200, 90), np.uint8)
    net = make().eval()
    x = torch.tensor((seen - np.array([100.0, 110, 120])) / [50, 60, 70]).permute(2, 0, 1)[None].float()
    squeezed = abs(width / height - 112 / 64) > 0.05
    assert explanation.warnings or not squeezed, "squeezed without a word"
    with torch.no_grad():
        try:
            expected, grid = net(x)[0].numpy(), net.cells(net.maps(x)).shape[2:]
        except RuntimeError:
            assert explanation.warnings, "an answer that the network does not give, without a word"
            return
    np.testing.assert_allclose(explanation.logits, expected, atol=1e-3)
    assert explanation.map.shape == tuple(grid)
