"""As test_never_wrong.py: where the cells of a layer lie in the picture, and which sizes are taken."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from strangers import (
    Block,
    Stranger,
    check,
    check_refusal,
    is_said,
    loaded,
    picture,
    seeded,
    truth,
)
from torch import nn

import camserve

pytestmark = pytest.mark.filterwarnings("ignore")


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
