"""Which axes of a tensor are places; conversion to feature maps (N, K, h, w) and back.

first      (N, K, h, w)          convolutional networks
last       (N, h, w, K)          channels last, as in Swin
tokens     (N, p + h w, K)       transformers: p tokens without a place (class, distillation, registers), then the
                                 places, row by row
sequence   (p + h w, N, K)       the same with the batch second, the default of nn.TransformerEncoder
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

MOST_PREFIX_TOKENS = 8
Grid = tuple[int, int]
LayoutKind = Literal["first", "last", "tokens", "sequence"]


@dataclass(frozen=True)
class Layout:
    """How a tensor holds places. kind, prefix (p): see above. stride: input pixels between tokens' cells, (x, y)."""

    kind: LayoutKind = "first"
    prefix: int = 0
    stride: tuple[float, float] = (1.0, 1.0)

    @property
    def is_tokens(self) -> bool:
        """Whether all places lie along one axis. Their grid must then be computed from the size of the input."""
        return self.kind in ("tokens", "sequence")

    def grid(self, value: Tensor, size: Grid) -> Grid:
        """The grid (w, h) of `value`, made from an input of `size` (w, h). Raises ValueError without a grid."""
        if self.is_tokens:
            count = value.shape[0 if self.kind == "sequence" else 1] - self.prefix
            height, width = grid_of(count, size[1], size[0], self.stride[1], self.stride[0])
            return width, height
        height, width = value.shape[2:] if self.kind == "first" else value.shape[1:3]
        return width, height

    def as_map(self, value: Tensor, size: Grid) -> Tensor:
        """A tensor of this layout as feature maps (N, K, h, w), without the tokens that have no place."""
        if self.kind == "first":
            return value
        if self.kind == "last":
            return value.permute(0, 3, 1, 2)
        width, height = self.grid(value, size)
        tokens = value.transpose(0, 1) if self.kind == "sequence" else value
        return tokens[:, self.prefix :].transpose(1, 2).reshape(len(tokens), -1, height, width)

    def rest(self, value: Tensor) -> Tensor | None:
        """The tokens without a place, (N, p, K); None if there are none."""
        if not self.prefix:
            return None
        return (value.transpose(0, 1) if self.kind == "sequence" else value)[:, : self.prefix]

    def back(self, maps: Tensor, rest: Tensor | None) -> Tensor:
        """The tensor of this layout with the given `as_map` and `rest`."""
        if self.kind == "first":
            return maps
        if self.kind == "last":
            return maps.permute(0, 2, 3, 1)
        tokens = maps.flatten(2).transpose(1, 2)
        if rest is not None:
            tokens = torch.cat((rest, tokens), 1)
        return tokens.transpose(0, 1) if self.kind == "sequence" else tokens


def grid_of(count: int, height: int, width: int, down: float, across: float) -> Grid:
    """The grid (h, w) of `count` cells that lie about `down` and `across` pixels apart on an input of (height, width).

    h * w is `count`, and h and w are nearest to height / down and width / across, at most 1 away. Raises ValueError if
    there is no such grid.
    """
    rows, columns = height / down, width / across
    fitting = [(h, count // h) for h in range(1, count + 1) if count % h == 0]
    near = [one for one in fitting if abs(one[0] - rows) <= 1 and abs(one[1] - columns) <= 1]
    if not near:
        raise ValueError(
            f"{count} tokens form no grid that fits an input of {width} x {height} pixels with a token every "
            f"{across:g} x {down:g} pixels"
        )
    return min(near, key=lambda one: abs(one[0] - rows) + abs(one[1] - columns))


def layouts_of(shape: tuple[int, ...], size: Grid, grids: set[Grid]) -> Iterator[tuple[Layout, Grid]]:
    """The possible layouts of a tensor of this shape, each with its grid (w, h), the most likely first.

    size: (w, h) of the single image. grids: the known grids of the network's maps; tokens often have the same grid.
    """
    if len(shape) == 4 and shape[0] == 1:
        maps = [(Layout("first"), (shape[3], shape[2])), (Layout("last"), (shape[2], shape[1]))]
        yield from sorted((one for one in maps if _fits(one[1], size)), key=lambda one: _stretch(one[1], size))
    if len(shape) == 3:
        kinds: dict[LayoutKind, int] = {"tokens": 1, "sequence": 0}
        for kind, axis in kinds.items():
            if shape[1 - axis] == 1:
                for prefix, grid in _grids_of(shape[axis], size, grids):
                    yield Layout(kind, prefix, (size[0] / grid[0], size[1] / grid[1])), grid


def _fits(grid: Grid, size: Grid) -> bool:
    """Whether a grid (w, h) of several cells has about the proportions of an input (w, h)."""
    if math.prod(grid) < 2 or grid[0] > size[0] or grid[1] > size[1]:
        return False
    return _stretch(grid, size) <= math.log(min(1.51, 1 + 2.5 / min(grid)))


def _stretch(grid: Grid, size: Grid) -> float:
    """How much the cells of a grid (w, h) over an input (w, h) differ from squares; 0 for squares."""
    return abs(math.log(size[0] / grid[0] * grid[1] / size[1]))


def _grids_of(count: int, size: Grid, known: set[Grid]) -> Iterator[tuple[int, Grid]]:
    """Possible (prefix, grid) of `count` tokens: first the known grids, then grids with the image's proportions."""
    prefixes = range(min(MOST_PREFIX_TOKENS, count - 2) + 1)
    yield from ((prefix, grid) for prefix in prefixes for grid in known if math.prod(grid) == count - prefix > 1)
    found = []
    for prefix in prefixes:
        height = round(math.sqrt((count - prefix) * size[1] / size[0]))
        if height and (count - prefix) % height == 0:
            grid = ((count - prefix) // height, height)
            if grid not in known and _fits(grid, size):
                found.append((prefix, grid))
    yield from sorted(found, key=lambda one: (round(_stretch(one[1], size), 6), one[0]))
