"""As test_never_wrong_layers.py, for tokens: which of them are places, and in which order."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from strangers import (
    Block,
    Cases,
    Staged,
    right_or_said,
    seeded,
)
from torch import nn

pytestmark = pytest.mark.filterwarnings("ignore")
cases = Cases()
LAYER = "token|order|place|position|grid|where in the image"


# A network of four times four patches


class Tokens(Staged):
    """4 x 4 patches of 8 pixels. Steps: patches, block, last block, norm, pooling and head."""

    good: tuple[int, ...] = (3, 4)
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

    order: torch.Tensor

    def more(self) -> None:
        self.register_buffer("order", torch.randperm(16))

    def patched(self, x: torch.Tensor) -> torch.Tensor:
        return super().patched(x)[:, self.order]

    def cells(self, t: torch.Tensor) -> torch.Tensor:
        return super().cells(t[:, torch.argsort(self.order)])


@pytest.mark.parametrize(("kind", "words"), cases.values(), ids=list(cases))
def test_the_answer_and_the_map_are_the_networks_own(kind: Callable[[], Any], words: str | None) -> None:
    right_or_said(seeded(kind), words)
