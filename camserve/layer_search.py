"""Where to look in a network: the last activation on which the answer depends through pooling alone.

Found by what the network does, not by what its layers are called or by the number of their axes. A value qualifies where

    it has places             one a cell of a grid with the image's proportions, which grows with the image
    it counts                 the answer changes with it, in more than one place
    nothing goes around it    every path from the image to the answer goes through it (camserve.separators)
    its places are places     changing the image somewhere changes it most there; tried where arithmetic does not say so

Behind the last such value a transformer's class token still reads: what it alone reads, in the tokens' own width, is
taken instead, as a separator of the patches.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from camserve.devices import structured
from camserve.differentiation import writing_allowed
from camserve.errors import ModelError
from camserve.given import Given
from camserve.halves import See
from camserve.layout import Grid, Layout, layouts_of
from camserve.separators import Key, key_of, separators

# Places are tried at so many cells, and at four times as many more where that tells too little.
_TRIED = 12
# Tokens are in their places where the one of the changed cell changes more than this share of all; or, where it is not
# so plain, more than the average by so many deviations. They are not where others change more by this factor.
_ABOVE, _CERTAIN, _OTHERS_MORE = 0.85, 4.0, 0.75
# What changes of a map must be so much correlated with where the image was changed.
_ALONG = 0.3
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

    def has_known_places(self, name: str) -> bool:
        """Whether arithmetic says where the cells of a value lie."""
        ...

    def is_linear(self, name: str) -> bool:
        """Whether a value is what a linear layer gave."""
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


@dataclass(frozen=True)
class Choice:
    """The layer to look at. note: what every explanation at it has to say; "" where it is all that it should be."""

    found: Found
    note: str = ""

    def notes_at(self, layers: Collection[str]) -> tuple[str, ...]:
        """The note, where this layer is one of those looked at."""
        return (self.note,) if self.note and self.found.name in layers else ()


def find_layer(network: Watched, found: dict[str, Found]) -> Choice:
    """The layer that a careful person would name, of `places`. Raises ModelError, which names candidates, for none."""
    values, answer, image = _pass(network)
    counted = [one for one in values if one.name in found and _counts(one, found[one.name])]
    counted = counted or [one for one in values if one.name in found and one.key is not None]  # weights of zeros
    all_pass = separators(answer, image)
    strict = [one for one in counted if one.key in all_pass]
    grown = [one for one in strict if one.name in _grown(network, found)]
    placed, assumed = _placed(network, [found[one.name] for one in grown])
    chosen = next((one for one in reversed(grown) if one.name in placed), None)
    if chosen is None:
        chosen = next((one for one in reversed(grown) if not found[one.name].layout.is_tokens), None)
        if chosen is None:
            raise ModelError(_none_found(network, [one.name for one in counted]))
        return Choice(found[_outermost(chosen, values, found)], _ELSEWHERE.format(chosen.name))
    note = _about_the_rest(counted, strict, grown, chosen, found)
    if chosen.name in assumed:
        note = note or _ASSUMED.format(chosen.name)
    chosen = _before_projection(network, grown, chosen, found)
    last = _of_the_patches(network, counted, found, chosen)
    return Choice(found[_outermost(last, values, found)], note)


_ELSEWHERE = (
    "the network moves what it sees: where the image is changed, layer '{}' changes elsewhere, so the heat may not lie on "
    "what it speaks of"
)


_ASSUMED = "the network mixes all places so much that camserve cannot check where the cells of layer '{}' lie: row by row is assumed"


def _about_the_rest(
    counted: list[_Value], strict: list[_Value], grown: list[_Value], chosen: _Value, found: dict[str, Found]
) -> str:
    """What keeps a layer from being the last one with places, in words."""
    behind = counted[counted.index(chosen) + 1 :]
    without_places = [one.name for one in behind if one in strict and one in grown]
    if without_places:
        return (
            f"behind layer '{chosen.name}' the network's values have an order of their own, in which camserve cannot tell "
            f"where in the image they lie ('{without_places[-1]}'): an earlier layer is explained than the last one"
        )
    own = found[chosen.name]
    around = [one.name for one in behind if one not in strict and _is_other_map(found[one.name], own, one, chosen)]
    if around:
        return (
            f"layer '{chosen.name}' is the last one that everything passes through, but behind it the network goes on "
            f"along several ways ('{around[-1]}' is on one): it may be early; name another with layer="
        )
    return ""


def _is_other_map(one: Found, own: Found, value: _Value, chosen: _Value) -> bool:
    """Whether a value behind the layer is a feature map of its own, neither the layer itself nor a gate or attention."""
    attention = math.prod(own.grid)
    is_map = not one.layout.is_tokens and one.shape[0] > 1 and not own.layout.is_tokens
    return is_map and value.key != chosen.key and not any(0 <= side - attention <= 8 for side in one.grid)


def _before_projection(network: Watched, grown: list[_Value], chosen: _Value, found: dict[str, Found]) -> _Value:
    """What a linear layer of another width was given: it makes keys and values for a pooling by attention."""
    own = found[chosen.name]
    before = grown[: grown.index(chosen)]
    while own.layout.is_tokens and network.is_linear(chosen.name) and own.shape[0] != network.given.classes and before:
        earlier = found[before[-1].name]
        if earlier.shape[1:] != own.shape[1:] or earlier.shape[0] == own.shape[0]:
            break
        chosen, own = before.pop(), earlier
    return chosen


def _pass(network: Watched) -> tuple[list[_Value], Tensor, Tensor]:
    """Every value of one pass at the size trained at, with the gradient of a random sum of the logits by it."""
    size = network.given.size
    image = structured(network.given, size, size).requires_grad_()
    values: dict[str, _Value] = {}

    def see(name: str, value: Tensor) -> None:
        values.pop(name, None)
        values[name] = _Value(name, value, key_of(value))

    try:
        with writing_allowed():
            answer = network.watch(image.clone(), see)
            if not answer.requires_grad:
                raise ModelError(_NO_GRADIENT.format(""))
            tracked = [one for one in values.values() if one.key is not None]
            score, wanted = (answer * _weights(answer)).sum(), [one.value for one in tracked]
            gradients = torch.autograd.grad(score, wanted, allow_unused=True, retain_graph=True)
    except RuntimeError as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(_NO_GRADIENT.format(f" ({reason})")) from None
    for one, gradient in zip(tracked, gradients, strict=True):
        one.gradient = gradient
    return list(values.values()), answer, image


_NO_GRADIENT = (
    "no gradient goes from the network's answer to its input{}: it computes in whole numbers (int8), or its forward uses "
    "torch.no_grad, detach, or results written with out=. Load the network in floating point, without those"
)


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
    near = all(0.4 * e - 1 <= m <= 2.5 * e + 1 for m, e in zip(more, expected, strict=True))
    return near and now.shape[1] == one.shape[0] and max(more) > 0


def _placed(network: Watched, candidates: list[Found]) -> tuple[set[str], set[str]]:
    """Of those, the ones that change most where the image is changed; where arithmetic says so, that is not tried.

    Where little can be told, since a network mixes all places, it is tried at more. Those of which even that tells
    nothing are taken to lie row by row if they are, or halve, a grid that is known: those are given once more, apart.
    """
    tried = {one.name: one for one in candidates if not network.has_known_places(one.name)}
    held, told = {one.name for one in candidates} - set(tried), set[str]()
    for places in (range(_TRIED), range(_TRIED, 5 * _TRIED)):
        left = {name: one for name, one in tried.items() if name not in told}
        if not left:
            break
        changes, cells = _changes(network, left, places)
        verdicts = {name: _follows(one, changes[name], cells) for name, one in left.items()}
        held |= {name for name, verdict in verdicts.items() if verdict}
        told |= {name for name, verdict in verdicts.items() if verdict is not None}
    assumed = set[str]()
    for one in candidates:
        if one.name in tried and one.name not in told and _halves_a_known_grid(one, candidates, held):
            held.add(one.name)
            assumed.add(one.name)
    return held, assumed


def _halves_a_known_grid(one: Found, candidates: list[Found], held: set[str]) -> bool:
    before = [other for other in candidates[: candidates.index(one)] if other.name in held]
    if not before:
        return False
    ratios = [-(-was // ratio) for was in before[-1].grid for ratio in (1, 2)]
    return one.grid in {(ratios[0], ratios[2]), (ratios[1], ratios[3])}


def _changes(
    network: Watched, tried: dict[str, Found], places: Iterable[int]
) -> tuple[dict[str, list[Tensor]], list[tuple[float, float]]]:
    """How much each cell of each value (h, w) changes where the image is changed at a place, and those places."""
    size, last = network.given.size, list(tried.values())[-1]
    base, seen = structured(network.given, size, size), dict[str, Tensor]()

    def see(name: str, value: Tensor) -> None:
        if name in tried:
            seen[name] = _maps_of(tried[name], value, size)

    network.watch(base, see)
    plain, cells = dict(seen), [_cell_of(last, place) for place in places]
    changes: dict[str, list[Tensor]] = {name: [] for name in tried}
    for number, (x, y) in enumerate(cells):
        network.watch(_changed(base, x, y, last, number), see)
        for name in tried:
            changes[name].append(_change(plain[name], seen[name]))
    return changes, cells


def _cell_of(one: Found, place: int) -> tuple[float, float]:
    """The middle of one of the cells tried, as shares of the image's sides; they are spread over all rows and columns."""
    across, down = one.grid
    u, v = place % _TRIED * across // _TRIED, (place * 5 % _TRIED + place // _TRIED) % _TRIED * down // _TRIED
    return (u + 0.5) / across, (v + 0.5) / down


def _change(before: Tensor, after: Tensor) -> Tensor:
    return (after - before).abs().sum(1)[0] if before.shape == after.shape else before.new_zeros(1, 1)


def _follows(one: Found, changes: list[Tensor], cells: list[tuple[float, float]]) -> bool | None:
    """Whether the cells where the image was changed changed most, beside what they change anyhow; None: not certain."""
    if any(change.shape != one.shape[1:] for change in changes):
        return False
    stacked = torch.stack(changes).double().cpu()
    stacked = stacked / stacked.mean((1, 2), keepdim=True).clamp(min=1e-30)
    if not one.layout.is_tokens:
        return _moves_along(stacked, cells)
    stacked = stacked / stacked.mean(0, keepdim=True).clamp(min=1e-30)  # some tokens take in more than others
    pairs = list(zip(stacked, cells, strict=True))
    own = sum(_at(change, *cell) for change, cell in pairs) / float(stacked.amax((1, 2)).sum())
    rank = sum(float((change < _at(change, *cell)).double().mean()) for change, cell in pairs) / len(pairs)
    certain = rank - 0.5 > _CERTAIN * (len(pairs) * 12) ** -0.5  # of ranks that mean nothing, this is the deviation
    if own < _OTHERS_MORE:
        return False
    return True if rank >= _ABOVE or (certain and len(pairs) > _TRIED) else None


def _at(change: Tensor, x: float, y: float) -> float:
    """The value of the cell at (x, y), shares of the sides."""
    return float(change[int(y * change.shape[0]), int(x * change.shape[1])])


def _moves_along(changes: Tensor, cells: list[tuple[float, float]]) -> bool | None:
    """Whether the middle of what changes (n, h, w) goes where the changed cell goes; None: not certain.

    Mirrored, it would go the other way; turned by a quarter, along the other axis.
    """
    weights = changes / changes.sum((1, 2), keepdim=True).clamp(min=1e-30)
    counts = changes.shape[2], changes.shape[1]
    middles = [(weights.sum(1 + axis) * torch.arange(counts[axis])).sum(1) for axis in (0, 1)]
    wanted = [torch.tensor([cell[axis] for cell in cells], dtype=torch.double) for axis in (0, 1)]
    axes = [axis for axis in (0, 1) if counts[axis] > 1]
    own = min(_correlation(middles[axis], wanted[axis]) for axis in axes)
    other = max(_correlation(middles[axis], wanted[1 - axis]) for axis in axes)
    if own > (_ALONG if len(cells) == _TRIED else _ALONG / 2) and own > other:
        return True
    contrary = len(cells) > _TRIED and (own < -_ALONG or other > own + _ALONG)
    return False if contrary else None


def _correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack((one, other)))[0, 1].nan_to_num())


def _maps_of(one: Found, value: Tensor, size: int) -> Tensor:
    try:
        return one.layout.as_map(value, (size, size)).detach().clone()
    except (RuntimeError, ValueError):
        return value.new_zeros(1, 1, 1, 1)


def _changed(base: Tensor, x: float, y: float, one: Found, number: int) -> Tensor:
    """The image with other pixels in the cell at (x, y), as shares of its sides."""
    left, top, right, bottom = _cell(one, x, y, (base.shape[-1], base.shape[-2]))
    made = base.clone()
    chance = torch.Generator().manual_seed(number)
    part = made[:, :, top:bottom, left:right]
    made[:, :, top:bottom, left:right] = 1 - part.flip(1) + torch.randn(part.shape, generator=chance).to(part)
    return made


def _cell(one: Found, x: float, y: float, size: Grid) -> tuple[int, int, int, int]:
    (across, down), (width, height) = one.grid, size
    u, v = int(x * across), int(y * down)
    edges = (u * width / across, v * height / down, (u + 1) * width / across, (v + 1) * height / down)
    left, top, right, bottom = (round(edge) for edge in edges)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _of_the_patches(network: Watched, counted: list[_Value], found: dict[str, Found], chosen: _Value) -> _Value:
    """What the class token alone still reads behind `chosen`: the last tokens that nothing of the patches goes around."""
    own = found[chosen.name]
    if not own.layout.is_tokens:
        return chosen
    behind = counted[counted.index(chosen) + 1 :]
    near = [one for one in behind if found[one.name].layout.prefix and found[one.name].shape == own.shape]
    near = [one for one in near if one.key != chosen.key]
    return next((one for one in reversed(near[-_MOST_TRIED:]) if not _goes_around(network, one.name, own)), chosen)


def _goes_around(network: Watched, name: str, source: Found) -> bool:
    """Whether something of the patches in `source` reaches the answer though the value `name` stands still."""
    size = network.given.size
    kept: list[Tensor] = []

    def see(seen: str, value: Tensor) -> Tensor | None:
        if seen == source.name:
            kept[:] = [value]
        return value.detach() if seen == name else None

    with writing_allowed():
        answer = network.watch(structured(network.given, size, size).requires_grad_().clone(), see)
        if not answer.requires_grad:
            return False
        (gradient,) = torch.autograd.grad((answer * _weights(answer)).sum(), kept[0], allow_unused=True)
    return gradient is not None and bool(source.layout.as_map(gradient, (size, size)).ne(0).any())


def _outermost(last: _Value, values: list[_Value], found: dict[str, Found]) -> str:
    """The name to show: of all that are this same value, the one with the fewest dots."""
    same = [one.name for one in values if one.key == last.key and one.name in found]
    return min(same, key=lambda name: (name.count("."), len(name)))


def _none_found(network: Watched, candidates: list[str]) -> str:
    names = ", ".join(repr(name) for name in candidates[-6:])
    what = f"The last that count are {names}: name one with layer=" if names else "No value has more than one place"
    return (
        f"{type(network.given.module).__name__} has no layer that everything passes through on the way to the answer and "
        f"that still has places (feature maps or tokens), so camserve does not choose one. {what}"
    )
