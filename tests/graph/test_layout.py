"""Where places are in a tensor, as maps and back; which grid so many tokens lie on."""

import pytest
import torch
from torch import Tensor, nn

from camserve.graph.cut import node_of, split
from camserve.graph.layout import Layout, LayoutKind, grid_of, layouts_of
from camserve.graph.tokens import cells_of, turned
from camserve.graph.trace import trace

# An input of 40 x 24 pixels (w, h), a cell every 8: 5 x 3 cells, of which the value of channel k at (x, y) is
# 100 k + 10 y + x.
SIZE, GRID = (40, 24), (5, 3)
MAPS = (100 * torch.arange(4)[:, None, None] + 10 * torch.arange(3)[:, None] + torch.arange(5))[None].float()
REST = -torch.arange(1.0, 9).reshape(1, 2, 4)
TOKENS = torch.cat((REST, torch.stack([MAPS[:, :, y, x] for y in range(3) for x in range(5)], 1)), 1)
STRIDE = (8.0, 8.0)
HELD: dict[Layout, Tensor] = {
    Layout("first"): MAPS,
    Layout("last"): MAPS.movedim(1, 3),
    Layout("tokens", 0, STRIDE): TOKENS[:, 2:],
    Layout("tokens", 2, STRIDE): TOKENS,
    Layout("sequence", 2, STRIDE): TOKENS.transpose(0, 1),
}
EACH = pytest.mark.parametrize("layout", HELD, ids=lambda layout: f"{layout.kind}-{layout.prefix}")


@EACH
def test_a_tensor_as_maps_and_back(layout: Layout) -> None:
    value = HELD[layout]
    assert layout.grid(value, SIZE) == GRID
    assert torch.equal(layout.as_map(value, SIZE), MAPS)
    rest = layout.rest(value)
    assert (rest is None) == (layout.prefix == 0)
    assert rest is None or torch.equal(rest, REST)
    assert torch.equal(layout.back(layout.as_map(value, SIZE), rest), value)


@pytest.mark.parametrize(
    ("count", "height", "width", "down", "across", "grid"),
    [
        (49, 224, 224, 32, 32, (7, 7)),
        (70, 224, 320, 32, 32, (7, 10)),
        (70, 320, 224, 32, 32, (10, 7)),
        (48, 225, 257, 32, 32, None),  # 7.03 x 8.03 cells: 6 x 8 is as far off as it may be not, 7 x 8 are 56
        (56, 225, 257, 32, 32, (7, 8)),
        (72, 225, 257, 32, 32, (8, 9)),  # rounded up
        (12, 32, 96, 16, 16, (2, 6)),
        (12, 96, 32, 16, 16, (6, 2)),
        (12, 48, 64, 16, 16, (3, 4)),
        (64, 128, 32, 8, 8, (16, 4)),
        (13, 48, 64, 16, 16, None),  # a prime
        (1, 16, 16, 16, 16, (1, 1)),
    ],
)
def test_the_grid_of_so_many_tokens(
    count: int, height: int, width: int, down: float, across: float, grid: tuple[int, int] | None
) -> None:
    if grid is None:
        with pytest.raises(ValueError, match=f"{count} tokens form no grid that fits an input of {width} x {height}"):
            grid_of(count, height, width, down, across)
    else:
        assert grid_of(count, height, width, down, across) == grid


@pytest.mark.parametrize(
    ("shape", "size", "known", "expected"),
    [
        ((1, 8, 7, 7), (224, 224), set(), [("first", 0, (7, 7))]),
        ((1, 7, 7, 8), (224, 224), set(), [("last", 0, (7, 7)), ("first", 0, (8, 7))]),
        ((1, 7, 10, 96), (320, 224), set(), [("last", 0, (10, 7))]),
        ((1, 50, 8), (224, 224), set(), [("tokens", 1, (7, 7)), ("tokens", 8, (7, 6))]),
        ((50, 1, 8), (224, 224), {(7, 7)}, [("sequence", 1, (7, 7)), ("sequence", 8, (7, 6))]),
        ((1, 56, 8), (256, 224), {(8, 7)}, [("tokens", 0, (8, 7)), ("tokens", 7, (7, 7))]),
        ((1, 8, 1, 1), (224, 224), set(), []),
        ((1, 8), (224, 224), set(), []),
        ((2, 8, 7, 7), (224, 224), set(), []),
        ((1, 3, 300, 300), (224, 224), set(), []),  # more cells than pixels
        ((1, 8, 2, 60), (224, 224), set(), []),  # not the image's proportions
    ],
)
def test_what_a_shape_can_hold(
    shape: tuple[int, ...],
    size: tuple[int, int],
    known: set[tuple[int, int]],
    expected: list[tuple[str, int, tuple[int, int]]],
) -> None:
    found = [(layout.kind, layout.prefix, grid) for layout, grid in layouts_of(shape, size, known)]
    assert found[: len(expected)] == expected
    assert bool(found) == bool(expected)


def test_tokens_have_the_stride_of_their_grid() -> None:
    layout, grid = next(layouts_of((1, 71, 8), (320, 224), set()))
    assert (layout, grid) == (Layout("tokens", 1, (32.0, 32.0)), (10, 7))


def test_the_grid_that_maps_have_comes_before_one_of_the_image_s_proportions() -> None:
    assert next(layouts_of((1, 37, 8), (96, 96), set()))[0].prefix == 1  # 6 x 6
    layout, grid = next(layouts_of((1, 37, 8), (96, 96), {(7, 5)}))
    assert (layout.prefix, grid) == (2, (7, 5))


class Tokens(nn.Module):
    """Patches with two tokens of no place before them, and a mean of all that a linear layer reads."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.mix, self.fc = nn.Conv2d(3, 4, 8, 8), nn.Linear(4, 4), nn.Linear(4, 5)
        self.rest, self.kind = nn.Parameter(torch.randn(1, 2, 4)), kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "last":
            return self.fc(self.mix(self.patches(x).permute(0, 2, 3, 1)).tanh().mean((1, 2)))
        t = torch.cat((self.rest.expand(x.shape[0], -1, -1), self.patches(x).flatten(2).transpose(1, 2)), 1)
        if self.kind == "sequence":
            return self.fc(self.mix(t.transpose(0, 1)).tanh().mean(0))
        return self.fc(self.mix(t).tanh().mean(1))


@pytest.mark.parametrize("kind", ["last", "tokens", "sequence"])
@pytest.mark.parametrize("size", [(40, 24), (24, 40), (64, 64)])
def test_a_graph_is_cut_at_tokens_as_at_maps(kind: LayoutKind, size: tuple[int, int]) -> None:
    net = Tokens(kind).eval()
    graph = trace(net)
    before = str(graph.graph)
    prefix = 0 if kind == "last" else 2
    body, head = split(*turned(graph, node_of(graph, "mix"), Layout(kind, prefix, (8.0, 8.0))))
    images = torch.randn(2, 3, size[1], size[0], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps, carried = body(images)
        expected = net.mix(net.patches(images).movedim(1, 3)).movedim(3, 1)
        torch.testing.assert_close(maps, expected)
        torch.testing.assert_close(head(maps, *carried), net(images))
        moved = maps + torch.arange(float(maps[0].numel())).reshape(maps[0].shape) / 50
        torch.testing.assert_close(head(moved, *carried), by_hand(net, moved, prefix))
    assert str(graph.graph) == before


def by_hand(net: Tokens, maps: Tensor, prefix: int) -> Tensor:
    """The logits of changed maps: the mean of tanh over their places and what is before them."""
    values = maps.flatten(2).transpose(1, 2)
    if prefix:
        values = torch.cat((net.mix(net.rest).expand(len(maps), -1, -1), values), 1)
    return net.fc(values.tanh().mean(1))


def test_cells_are_counted_from_the_image() -> None:
    assert cells_of(torch.zeros(1, 15, 4), torch.zeros(1, 3, 24, 40), 8.0, 8.0) == (3, 5)
