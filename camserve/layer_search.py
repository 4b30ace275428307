"""Where to look in a network: the last activation on which the answer depends through pooling alone.

Found by what the network does, not by what its layers are called or by the number of their axes. A value qualifies where

    it has places             one a cell of a grid with the image's proportions, which grows with the image
    it counts                 the answer changes with it, in more than one place
    nothing goes around it    every path from the image to the answer goes through it (camserve.separators)
    its places are places     changing the image somewhere changes it most there; for tokens, whose order is only a habit

Behind the last such value a transformer's class token still reads: what it alone reads, in the tokens' own width, is
taken instead, as a separator of the patches.
"""

from collections.abc import Iterator
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from camserve.devices import structured
from camserve.errors import ModelError
from camserve.given import Given
from camserve.halves import See
from camserve.layout import Grid, Layout, layouts_of
from camserve.separators import Key, key_of, separators

# Tokens' places are tried at so many cells; of all cells, so large a share must change less than the one changed.
_TRIED, _ABOVE = 6, 0.75
# Values behind the last separator that are tried as what the class token reads.
_MOST_TRIED = 12


@dataclass(frozen=True)
class Found:
    """A value with places. shape: (K, h, w) at the size trained at."""

    name: str
    layout: Layout
    shape: tuple[int, int, int]

    @property
    def grid(self) -> Grid:
        """(w, h)."""
        return self.shape[2], self.shape[1]


class Watched(Protocol):
    """What is looked into."""

    given: Given

    def watch(self, images: Tensor, see: See) -> Tensor:
        """As in `camserve.halves.Network`."""
        ...


def places(network: Watched) -> dict[str, Found]:
    """As `places_of`, of the values of one pass."""
    size = network.given.size
    shapes: dict[str, tuple[int, ...]] = {}

    def see(name: str, value: Tensor) -> None:
        shapes.pop(name, None)
        shapes[name] = tuple(value.shape)

    network.watch(structured(network.given, size, size), see)
    return places_of(shapes, size, {})


def places_of(shapes: Mapping[str, tuple[int, ...]], size: int, known: Mapping[str, Grid]) -> dict[str, Found]:
    """Every value that can be looked at, by name, in order: maps, channels first or last, and tokens.

    shapes: of each value, for one image of `size` x `size` pixels. known: the grids (w, h) of some of them.
    """
    grids = {grid for grid in known.values() if math.prod(grid) > 1}
    found = {}
    for name, shape in shapes.items():
        layout, grid = _known(shape, known.get(name)) or next(layouts_of(shape, (size, size), grids), (None, (0, 0)))
        if layout is not None:
            channels = {"first": shape[1], "last": shape[-1]}.get(layout.kind, shape[2])
            found[name] = Found(name, layout, (channels, grid[1], grid[0]))
            if not layout.is_tokens:
                grids.add(grid)
    return found


def _known(shape: tuple[int, ...], grid: Grid | None) -> tuple[Layout, Grid] | None:
    """The layout of a map whose grid is known."""
    if grid is None or len(shape) != 4 or shape[0] != 1 or math.prod(grid) < 2:
        return None
    if (shape[3], shape[2]) == grid:
        return Layout("first"), grid
    return (Layout("last"), grid) if (shape[2], shape[1]) == grid else None


@dataclass
class _Value:
    """One value of the pass that is looked into. key: where it stood in autograd's record when it was made."""

    name: str
    value: Tensor
    key: Key | None
    gradient: Tensor | None = None


def find_layer(network: Watched) -> Found:
    """The layer that a careful person would name. Raises ModelError, which names candidates, where there is none."""
    found = places(network)
    values, answer, image = _pass(network)
    all_pass = separators(answer, image)
    strict = [one for one in values if one.name in found and one.key in all_pass and _counts(one, found[one.name])]
    grown = _grown(network, found)
    placed = _placed(network, [found[one.name] for one in strict if one.name in grown])
    chosen = next((one for one in reversed(strict) if one.name in grown and one.name in placed), None)
    if chosen is None:
        raise ModelError(_none_found(network, [one for one in values if one.name in found and _counts(one, found[one.name])]))
    last = _of_the_patches(network, values, found, chosen)
    return found[_outermost(last, values, found)]


def _pass(network: Watched) -> tuple[list[_Value], Tensor, Tensor]:
    """Every value of one pass at the size trained at, with the gradient of a random sum of the logits by it."""
    size = network.given.size
    image = structured(network.given, size, size).requires_grad_()
    values: list[_Value] = []

    def see(name: str, value: Tensor) -> None:
        values[:] = [one for one in values if one.name != name]
        values.append(_Value(name, value, key_of(value)))

    answer = network.watch(image, see)
    if not answer.requires_grad:
        raise ModelError(
            "no gradient goes from the network's answer to its input: it computes in whole numbers (int8), or its forward "
            "uses torch.no_grad or detach. Load the network in floating point, without those"
        )
    score = (answer * _weights(answer)).sum()
    tracked = [one for one in values if one.key is not None]
    gradients = torch.autograd.grad(score, [one.value for one in tracked], allow_unused=True, retain_graph=True)
    for one, gradient in zip(tracked, gradients, strict=True):
        one.gradient = gradient
    return values, answer, image


def _weights(answer: Tensor) -> Tensor:
    return torch.randn(answer.shape, generator=torch.Generator().manual_seed(1)).to(answer)


def _counts(one: _Value, found: Found) -> bool:
    """Whether the answer changes with it: with more than one place, where they are tokens."""
    if one.gradient is None:
        return False
    size = round(found.grid[0] * found.layout.stride[0]), round(found.grid[1] * found.layout.stride[1])
    count = int(found.layout.as_map(one.gradient, size).ne(0).any(1).sum())
    return count > 1 if found.layout.is_tokens else count > 0


def _grown(network: Watched, found: dict[str, Found]) -> set[str]:
    """The names of those whose grid grows with the image; all, where the network takes one size only."""
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


def _has_grown(one: Found, value: Tensor, size: Grid, trained: int) -> bool:
    try:
        now = one.layout.as_map(value, size)
    except (RuntimeError, ValueError):
        return False
    more = now.shape[-1] - one.shape[2], now.shape[-2] - one.shape[1]
    expected = ((size[0] - trained) * one.shape[2] / trained, (size[1] - trained) * one.shape[1] / trained)
    near = all(e - 1 <= m <= 2 * e + 1 for m, e in zip(more, expected, strict=True))
    return near and now.shape[1] == one.shape[0] and max(more) > 0


def _placed(network: Watched, candidates: list[Found]) -> set[str]:
    """Of those, the ones that change most where the image is changed. Maps of convolutions do; tokens are tried."""
    tokens = {one.name: one for one in candidates if one.layout.is_tokens}
    if not tokens:
        return {one.name for one in candidates}
    size = network.given.size
    base = structured(network.given, size, size)
    cells = [((2 * i + 1) / (2 * _TRIED), ((5 * i + 2) % _TRIED + 0.5) / _TRIED) for i in range(_TRIED)]
    images = torch.cat([base, *(_changed(base, x, y, one) for one in [list(tokens.values())[-1]] for x, y in cells)])
    held: set[str] = set()

    def see(name: str, value: Tensor) -> None:
        held.discard(name)
        one = tokens.get(name)
        if one is not None and _is_placed(one, value, (size, size), cells):
            held.add(name)

    network.watch(images, see)
    return held | {one.name for one in candidates if one.name not in tokens}


def _changed(base: Tensor, x: float, y: float, one: Found) -> Tensor:
    """The image with other pixels in the cell at (x, y), as shares of its sides."""
    left, top, right, bottom = _cell(one, x, y, (base.shape[-1], base.shape[-2]))
    made = base.clone()
    made[:, :, top:bottom, left:right] = -made[:, :, top:bottom, left:right].flip(1) + 1
    return made


def _cell(one: Found, x: float, y: float, size: Grid) -> tuple[int, int, int, int]:
    (across, down), (width, height) = one.grid, size
    u, v = int(x * across), int(y * down)
    edges = (u * width / across, v * height / down, (u + 1) * width / across, (v + 1) * height / down)
    left, top, right, bottom = (round(edge) for edge in edges)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _is_placed(one: Found, value: Tensor, size: Grid, cells: list[tuple[float, float]]) -> bool:
    try:
        maps = one.layout.as_map(value, size)
    except (RuntimeError, ValueError):
        return False
    moved = (maps[1:] - maps[:1]).abs().sum(1)
    shares = []
    for change, (x, y) in zip(moved, cells, strict=True):
        own = change[int(y * change.shape[0]), int(x * change.shape[1])]
        shares.append(float((change < own).double().mean()) * change.numel() / max(1, change.numel() - 1))
    return sum(shares) / len(shares) >= _ABOVE


def _of_the_patches(
    network: Watched, values: list[_Value], found: dict[str, Found], chosen: _Value
) -> _Value:
    """What the class token alone still reads behind `chosen`: the last tokens that nothing of the patches goes around."""
    own = found[chosen.name]
    behind = values[values.index(chosen) + 1 :]
    near = [
        one
        for one in behind
        if one.name in found and found[one.name].layout.is_tokens and found[one.name].layout.prefix
        and found[one.name].shape == own.shape and one.key != chosen.key and _counts(one, found[one.name])
    ]
    if not own.layout.is_tokens:
        return chosen
    for one in reversed(near[-_MOST_TRIED:]):
        if not _goes_around(network, one.name, own):
            return one
    return chosen


def _goes_around(network: Watched, name: str, source: Found) -> bool:
    """Whether something of the patches in `source` reaches the answer though the value `name` stands still."""
    size = network.given.size
    kept: list[Tensor] = []

    def see(seen: str, value: Tensor) -> Tensor | None:
        if seen == source.name:
            kept[:] = [value]
        return value.detach() if seen == name else None

    answer = network.watch(structured(network.given, size, size).requires_grad_(), see)
    if not answer.requires_grad:
        return False
    (gradient,) = torch.autograd.grad((answer * _weights(answer)).sum(), kept[0], allow_unused=True)
    return gradient is not None and bool(source.layout.as_map(gradient, (size, size)).ne(0).any())


def _outermost(last: _Value, values: list[_Value], found: dict[str, Found]) -> str:
    """The name to show: of all that are this same value, the one with the fewest dots."""
    same = [one.name for one in values if one.key == last.key and one.name in found]
    return min(same, key=lambda name: (name.count("."), len(name)))


def _none_found(network: Watched, candidates: list[_Value]) -> str:
    names = ", ".join(repr(one.name) for one in candidates[-6:])
    what = f"The last that count are {names}: name one with layer=" if names else "None has more than one place"
    return (
        f"{type(network.given.module).__name__} has no layer that everything passes through on the way to the answer and "
        f"that still has places (feature maps or tokens), so camserve does not choose one. {what}"
    )


