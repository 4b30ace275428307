"""Check that the cells of a value lie where they seem to lie, by changing the image in one place after another.

This finds latents that have no places although their number is a square, and tokens that are not in row order.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from camserve.graph.layer_search.places import Found, Watched
from camserve.graph.layout import Grid

# The image is changed at this many cells; if the result is not clear, at four times as many more.
_TRIED = 12
# Tokens are in place if the token of the changed cell changes more than the share _ABOVE of all tokens, or, after more
# cells, if its rank is above the average by _CERTAIN standard deviations. They are not in place if its change is below
# the share _OTHERS_MORE of the largest change.
_ABOVE, _CERTAIN, _OTHERS_MORE = 0.85, 4.0, 0.75
# Smallest correlation between the place of a map's change and the place where the image was changed.
_ALONG = 0.3


def placed_in(network: Watched, candidates: list[Found]) -> tuple[set[str], set[str]]:
    """The names of the candidates whose cells are in place, and of those among them that are only assumed to be.

    A value is in place if it changes most where the image is changed; this is not tested if arithmetic already shows
    it. If the result is not clear because the network mixes all places, more cells are changed. If it is still not
    clear, the value is assumed to lie row by row if its grid is equal to, or half of, an earlier known grid.
    """
    tried = {one.name: one for one in candidates if not network.has_known_places(one.name)}
    held, told = {one.name for one in candidates} - set(tried), set[str]()
    for places in (range(_TRIED), range(_TRIED, 5 * _TRIED)):
        left = {one.name: one for one in _behind_the_last(candidates, held) if one.name not in told}
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


def _behind_the_last(candidates: list[Found], held: set[str]) -> list[Found]:
    """The candidates after the last one in place: only these must still be tested."""
    last = max((place for place, one in enumerate(candidates) if one.name in held), default=-1)
    return candidates[last + 1 :]


def _halves_a_known_grid(one: Found, candidates: list[Found], held: set[str]) -> bool:
    before = [other for other in candidates[: candidates.index(one)] if other.name in held]
    if not before:
        return False
    ratios = [-(-was // ratio) for was in before[-1].grid for ratio in (1, 2)]
    return one.grid in {(ratios[0], ratios[2]), (ratios[1], ratios[3])}


def _changes(
    network: Watched, tried: dict[str, Found], places: Iterable[int]
) -> tuple[dict[str, list[Tensor]], list[tuple[float, float]]]:
    """For each value, how much each cell (h, w) changes with each change of the image; and the changed places."""
    size, last = network.given.size, list(tried.values())[-1]
    base, seen = network.given.image(), dict[str, Tensor]()

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
    """The centre of a test cell, as shares of the sides. The test cells are spread over all rows and columns."""
    across, down = one.grid
    u, v = place % _TRIED * across // _TRIED, (place * 5 % _TRIED + place // _TRIED) % _TRIED * down // _TRIED
    return (u + 0.5) / across, (v + 0.5) / down


def _change(before: Tensor, after: Tensor) -> Tensor:
    return (after - before).abs().sum(1)[0] if before.shape == after.shape else before.new_zeros(1, 1)


def _follows(one: Found, changes: list[Tensor], cells: list[tuple[float, float]]) -> bool | None:
    """Whether the cells at the changed places change most, relative to their mean change; None: not certain."""
    if any(change.shape != one.shape[1:] for change in changes):
        return False
    stacked = torch.stack(changes).double().cpu()
    stacked = stacked / stacked.mean((1, 2), keepdim=True).clamp(min=1e-30)
    if not one.layout.is_tokens:
        return _moves_along(stacked, cells)
    stacked = stacked / stacked.mean(0, keepdim=True).clamp(min=1e-30)  # some tokens react more than others
    pairs = list(zip(stacked, cells, strict=True))
    own = sum(_at(change, *cell) for change, cell in pairs) / float(stacked.amax((1, 2)).sum())
    rank = sum(float((change < _at(change, *cell)).double().mean()) for change, cell in pairs) / len(pairs)
    certain = rank - 0.5 > _CERTAIN * (len(pairs) * 12) ** -0.5  # the deviation of random ranks
    if own < _OTHERS_MORE:
        return False
    return True if rank >= _ABOVE or (certain and len(pairs) > _TRIED) else None


def _at(change: Tensor, x: float, y: float) -> float:
    """The value of the cell at (x, y), shares of the sides."""
    return float(change[int(y * change.shape[0]), int(x * change.shape[1])])


def _moves_along(changes: Tensor, cells: list[tuple[float, float]]) -> bool | None:
    """Whether the centre of the changes (n, h, w) moves with the changed cell; None: not certain.

    In a mirrored map it would move the other way, and in a map turned by 90 degrees along the other axis.
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


def _maps_of(one: Found, value: Tensor, size: Grid) -> Tensor:
    try:
        return one.layout.as_map(value, size).detach().clone()
    except (RuntimeError, ValueError):
        return value.new_zeros(1, 1, 1, 1)


def _changed(base: Tensor, x: float, y: float, one: Found, number: int) -> Tensor:
    """The image with other pixels in the cell at (x, y), which are shares of the sides."""
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
