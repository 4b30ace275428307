"""Where the places are in a tensor, and the same tensor as feature maps (N, K, h, w) and back.

first      (N, K, h, w)          convolutional networks
last       (N, h, w, K)          channels last, as in Swin
tokens     (N, p + h w, K)       transformers: p tokens of no place (class, distillation, registers), then the
                                 places, row by row
sequence   (p + h w, N, K)       the same, as nn.TransformerEncoder has it unless told otherwise
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
    """kind: as above. prefix: p. stride: input pixels between the cells of tokens, (x, y)."""

    kind: LayoutKind = "first"
    prefix: int = 0
    stride: tuple[float, float] = (1.0, 1.0)

    @property
    def is_tokens(self) -> bool:
        """Whether the places lie along one axis, so that their grid follows from the input's size alone."""
        return self.kind in ("tokens", "sequence")

    def grid(self, value: Tensor, size: Grid) -> Grid:
        """(w, h) of the places in `value`, made of an input of `size` (w, h). Raises ValueError where there is none."""
        if self.is_tokens:
            count = value.shape[0 if self.kind == "sequence" else 1] - self.prefix
            height, width = grid_of(count, size[1], size[0], self.stride[1], self.stride[0])
            return width, height
        height, width = value.shape[2:] if self.kind == "first" else value.shape[1:3]
        return width, height

    def as_map(self, value: Tensor, size: Grid) -> Tensor:
        """(N, K, h, w) of a tensor of this layout; the tokens of no place are left out."""
        if self.kind == "first":
            return value
        if self.kind == "last":
            return value.permute(0, 3, 1, 2)
        width, height = self.grid(value, size)
        tokens = value.transpose(0, 1) if self.kind == "sequence" else value
        return tokens[:, self.prefix :].transpose(1, 2).reshape(len(tokens), -1, height, width)

    def rest(self, value: Tensor) -> Tensor | None:
        """The tokens of no place, (N, p, K); None where there are none."""
        if not self.prefix:
            return None
        return (value.transpose(0, 1) if self.kind == "sequence" else value)[:, : self.prefix]

    def back(self, maps: Tensor, rest: Tensor | None) -> Tensor:
        """The tensor of this layout whose `as_map` and `rest` these are."""
        if self.kind == "first":
            return maps
        if self.kind == "last":
            return maps.permute(0, 2, 3, 1)
        tokens = maps.flatten(2).transpose(1, 2)
        if rest is not None:
            tokens = torch.cat((rest, tokens), 1)
        return tokens.transpose(0, 1) if self.kind == "sequence" else tokens


def grid_of(count: int, height: int, width: int, down: float, across: float) -> Grid:
    """(h, w) of `count` cells that lie about `down` and `across` pixels apart on an input of (height, width).

    The two numbers whose product is `count` and which are nearest to height / down and width / across; those may be
    rounded either way, no more. Raises ValueError where there are none.
    """
    rows, columns = height / down, width / across
    fitting = [(h, count // h) for h in range(1, count + 1) if count % h == 0]
    near = [one for one in fitting if abs(one[0] - rows) <= 1 and abs(one[1] - columns) <= 1]
    if not near:
        raise ValueError(
            f"{count} tokens lie on no grid that fits an input of {width} x {height} pixels, a token every "
            f"{across:g} x {down:g}"
        )
    return min(near, key=lambda one: abs(one[0] - rows) + abs(one[1] - columns))


def layouts_of(shape: tuple[int, ...], size: Grid, grids: set[Grid]) -> Iterator[tuple[Layout, Grid]]:
    """How a tensor of that shape, made of one image of `size` (w, h), can hold places, the likeliest first.

    With each its grid (w, h). grids: those of the network's maps, which its tokens share.
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
    """Whether a grid (w, h) of more than one cell has the proportions of an input (w, h), but for its last cells."""
    if math.prod(grid) < 2 or grid[0] > size[0] or grid[1] > size[1]:
        return False
    return _stretch(grid, size) <= math.log(min(1.51, 1 + 2.5 / min(grid)))


def _stretch(grid: Grid, size: Grid) -> float:
    """How far the cells of a grid (w, h) over an input (w, h) are from squares; 0 for squares."""
    return abs(math.log(size[0] / grid[0] * grid[1] / size[1]))


def _grids_of(count: int, size: Grid, known: set[Grid]) -> Iterator[tuple[int, Grid]]:
    """(prefix, grid) of so many tokens: on a grid that maps of the network have, else on one like the image."""
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
