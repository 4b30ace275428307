"""Find the values of a network that have places, and their grids.

Shapes show which values may be maps or tokens. A larger image shows whether the grid grows with it.
`camserve.graph.layer_search.placing` checks that the cells lie where they seem to lie.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from camserve.graph.layout import Grid, Layout, layouts_of
from camserve.graph.original.given import Given

# Gets the name of a value and the value during a forward pass; may return a tensor that replaces the value
See = Callable[[str, Tensor], Tensor | None]


@dataclass(frozen=True)
class Found:
    """A value with places. shape: (K, h, w) at the training size."""

    name: str
    layout: Layout
    shape: tuple[int, int, int]

    @property
    def grid(self) -> Grid:
        """(w, h)."""
        return self.shape[2], self.shape[1]


class Watched(Protocol):
    """A network whose values can be watched."""

    given: Given

    def watch(self, images: Tensor, see: See) -> Tensor:
        """As in `camserve.graph.network.Network`."""
        ...

    def has_known_places(self, name: str) -> bool:
        """Whether receptive-field arithmetic says where the cells of a value lie."""
        ...

    def is_linear(self, name: str) -> bool:
        """Whether a value is the output of a linear layer."""
        ...


def places(network: Watched) -> dict[str, Found]:
    """`places_of` for the values of one forward pass."""
    shapes: dict[str, tuple[int, ...]] = {}

    def see(name: str, value: Tensor) -> None:
        shapes.pop(name, None)
        shapes[name] = tuple(value.shape)

    network.watch(network.given.image(), see)
    return places_of(shapes, network.given.size, {})


def places_of(shapes: Mapping[str, tuple[int, ...]], size: Grid, known: Mapping[str, Grid]) -> dict[str, Found]:
    """Every value that can be explained, by name, in order: maps (channels first or last) and tokens.

    shapes: the shape of each value for one image of `size` (w, h). known: the grids (w, h) of some values.
    """
    grids = {grid for grid in known.values() if math.prod(grid) > 1}
    found = {}
    for name, shape in shapes.items():
        layout, grid = _known(shape, known.get(name)) or next(layouts_of(shape, size, grids), (None, (0, 0)))
        if layout is not None:
            channels = {"first": shape[1], "last": shape[-1]}.get(layout.kind, shape[2])
            found[name] = Found(name, layout, (channels, grid[1], grid[0]))
            if not layout.is_tokens:
                grids.add(grid)
    return found


def _known(shape: tuple[int, ...], grid: Grid | None) -> tuple[Layout, Grid] | None:
    """The layout and grid of a map whose grid is known; None for other shapes."""
    if grid is None or len(shape) != 4 or shape[0] != 1 or math.prod(grid) < 2:
        return None
    if (shape[3], shape[2]) == grid:
        return Layout("first"), grid
    return (Layout("last"), grid) if (shape[2], shape[1]) == grid else None


def grown_in(network: Watched, found: dict[str, Found]) -> set[str]:
    """The names of the values whose grid grows with the image; all names if the network takes only one size."""
    given = network.given
    larger = next((one.images for one in given.probes[2:] if one.logits is not None), None)
    if not given.takes_any_size or larger is None:
        return set(found)
    width, height = larger.shape[-1], larger.shape[-2]
    kept: set[str] = set()

    def see(name: str, value: Tensor) -> None:
        if name in found and _has_grown(found[name], value, (width, height), given.size):
            kept.add(name)

    network.watch(larger, see)
    return kept


def _has_grown(one: Found, value: Tensor, size: Grid, trained: Grid) -> bool:
    try:
        now = one.layout.as_map(value, size)
    except (RuntimeError, ValueError):
        return False
    more = now.shape[-1] - one.shape[2], now.shape[-2] - one.shape[1]
    expected = tuple((size[axis] - trained[axis]) * one.grid[axis] / trained[axis] for axis in (0, 1))
    near = all(0.4 * e - 1 <= m <= 2.5 * e + 1 for m, e in zip(more, expected, strict=True))
    adds_none = max(expected) < 1  # at a stride of 64, say
    return near and now.shape[1] == one.shape[0] and (max(more) > 0 or adds_none)
