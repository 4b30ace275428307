"""How a tensor lies over the image: as maps, channels first or last, or as tokens, some of which are not patches."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

_MOST_PREFIX = 16


@dataclass(frozen=True)
class Layout:
    """kind: the meaning of the axes. grid: (h, w). prefix: tokens before the patches', or after them with "behind"."""

    kind: str
    grid: tuple[int, int]
    prefix: int = 0

    def cells(self, tensor: Tensor) -> Tensor:
        """Return the tensor as (K, h, w)."""
        height, width = self.grid
        if self.kind == "first":
            return tensor[0]
        if self.kind == "last":
            return tensor[0].permute(2, 0, 1)
        if self.kind == "rows of channels":
            return tensor[0].unflatten(1, (height, width))
        tokens = tensor[:, 0] if self.kind == "sequence" else tensor if self.kind == "rows" else tensor[0]
        start = 0 if self.kind == "behind" else self.prefix
        return tokens[start : start + height * width].T.unflatten(1, (height, width))


def layouts(shape: tuple[int, ...], aspect: float, grid: tuple[int, int] | None = None) -> Iterator[Layout]:
    """Yield the ways in which a tensor of that shape can lie over an image of `aspect` (H / W), the likeliest first.

    grid: (h, w), if known.
    """
    if len(shape) == 4 and shape[0] == 1:
        for kind, found in (("first", shape[2:]), ("last", shape[1:3])):
            if _fits(found, aspect, grid):
                yield Layout(kind, (found[0], found[1]))
    elif len(shape) == 3 and shape[0] == 1:
        yield from _tokens("tokens", shape[1], aspect, grid)
        for found in _grids(shape[2], aspect, grid):
            yield Layout("rows of channels", found)
        yield from (one for one in _tokens("behind", shape[1], aspect, grid) if one.prefix)
    elif len(shape) == 3 and shape[1] == 1:
        yield from _tokens("sequence", shape[0], aspect, grid)
    elif len(shape) == 2 and shape[0] > 1:
        yield from _tokens("rows", shape[0], aspect, grid)


def _tokens(kind: str, count: int, aspect: float, grid: tuple[int, int] | None) -> Iterator[Layout]:
    for prefix in range(min(_MOST_PREFIX, count - 1) + 1):
        for found in _grids(count - prefix, aspect, grid):
            yield Layout(kind, found, prefix)


def _grids(count: int, aspect: float, grid: tuple[int, int] | None) -> Iterator[tuple[int, int]]:
    height = round(math.sqrt(count * aspect)) if grid is None else grid[0]
    if height > 0 and count % height == 0 and _fits((height, count // height), aspect, grid):
        yield height, count // height


def _fits(found: tuple[int, ...], aspect: float, grid: tuple[int, int] | None) -> bool:
    """Whether a grid has several places, and the proportions of `aspect`."""
    height, width = found
    if grid is not None:
        return (height, width) == grid
    return height > 1 and width > 1 and abs(height - width * aspect) < 1
