"""Which part of a logit comes from where: exact, for heads that add up over places.

Under global average pooling and one linear layer, logit = bias + the mean over the cells of the class map; under a
fully convolutional classifier the same without the bias. So each cell adds a known number, and what remains is to say
on which pixels it lies. A cell weighs in the heat at a pixel by bilinear interpolation; its number is spread over the
photograph in proportion to that weight. A weight is integrated over the pixel's area, and a cell's whole is what the
photograph, or the part of it that the model saw, holds of it: so whichever way pixels are parted, nothing is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from camserve.catalogue.numbers import as_number, whole_within
from camserve.catalogue.targets import Target
from camserve.errors import OptionError, shown
from camserve.explanation.class_scores import ranked
from camserve.geometry.frame import Frame, Placement
from camserve.render.painting import strips
from camserve.render.regions import Box

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Region = Box | Sequence[float] | npt.NDArray[np.bool_]

# Share of the widest cell below which a cell lies outside the photograph: rounding would be all there is of it.
_OUTSIDE = 1e-6


@dataclass(frozen=True)
class Vote:
    """What a place says for one class. logits: the class map there, whose mean over cells, plus bias, is the logit."""

    class_index: int
    class_name: str
    logits: float


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """What each cell adds to the logits of some classes: logits[classes] = bias + the mean over cells of maps.

    classes: indices. maps: float32 (n, h, w). bias: float32 (n,). placement: where the cells lie.
    """

    classes: tuple[int, ...]
    maps: Float32
    bias: Float32
    placement: Placement


@dataclass(frozen=True, eq=False)
class Account:
    """What each cell of a layer adds to each logit: logits = bias + mean over cells of weight @ activations.

    activations: float32 (K, h, w). weight: float32 (C, K), None where the activations are the class maps.
    bias: float32 (C,). placement: where the cells lie.
    """

    activations: Float32
    weight: Float32 | None
    bias: Float32
    placement: Placement

    def __reduce__(self) -> "tuple[type[Account], tuple[Float32, None, Float32, Placement]]":
        """Copies and pickles hold the class maps, equal to float precision, in place of the classifier's weights."""
        maps = self.activations if self.weight is None else np.einsum("ck,khw->chw", self.weight, self.activations)
        return Account, (maps, None, self.bias, self.placement)

    def within(self, frame: Frame) -> "Account":
        """The same with its cells in the photograph that `frame` made the input of."""
        return replace(self, placement=replace(self.placement, frame=frame))

    def of_target(self, target: Target) -> Float64:
        """What each cell adds to the target, float64 (h, w): the target is `bias_of` plus the mean of these."""
        indices, factors = (list(part) for part in zip(*_terms(target), strict=True))
        if self.weight is None:
            return np.tensordot(np.array(factors), np.asarray(self.activations[indices], np.float64), 1)
        weight = np.array(factors) @ self.weight[indices].astype(np.float64)
        added: Float64 = np.einsum("k,khw->hw", weight, self.activations)
        return added

    def bias_of(self, target: Target) -> float:
        """What the target is where no place adds anything."""
        return float(sum(factor * float(self.bias[index]) for index, factor in _terms(target)))

    def share(self, target: Target, region: Region) -> float:
        """What a region of the original adds to the target, in logits.

        region: (left, top, right, bottom) in pixels, fractions allowed, right and bottom exclusive; a Box; or a mask,
        bool (H, W). Raises OptionError where it is none of these, or reaches outside the photograph.
        """
        cells = self.of_target(target) / self.of_target(target).size
        if isinstance(region, np.ndarray) and region.ndim == 2:
            return self._under_mask(cells, region)
        left, top, right, bottom = checked_box(region, self.placement.frame.original)
        across, down = spread(self.placement, 0, [left, right]), spread(self.placement, 1, [top, bottom])
        return float(down[:, 0] @ cells @ across[:, 0])

    def votes(self, x: float, y: float, labels: Sequence[str], count: int) -> list[Vote]:
        """The classes that the place (x, y) of the original adds most to, best first.

        Between cell centres the maps are bilinear, as everywhere. Raises OptionError where the model did not see it.
        """
        count = whole_within("count", count, 0)
        u, v = self.placement.cell_at(*checked_place((x, y), self.placement))
        activations = _between(_between(self.activations, u), v)
        values = activations if self.weight is None else self.weight @ activations
        return [Vote(index, labels[index], float(values[index])) for index in ranked(values)[:count]]

    def class_map(self, index: int) -> Float32:
        """What each cell adds to a class's logit, float32 (h, w)."""
        maps = self.activations
        added: Float32 = maps[index] if self.weight is None else np.einsum("k,khw->hw", self.weight[index], maps)
        return added

    def class_maps(self, order: Sequence[int], most: int) -> "ClassMaps":
        """The maps of the first of these classes, at least of one: as many as have no more numbers than `most`."""
        cells = self.activations[0].size
        classes = list(order[: max(1, most // cells)])
        maps = self.activations[classes] if self.weight is None else self._weighed(classes)
        return ClassMaps(tuple(classes), maps, self.bias[classes], self.placement)

    def _weighed(self, classes: list[int]) -> Float32:
        assert self.weight is not None
        maps: Float32 = np.tensordot(self.weight[classes], self.activations, 1)
        return maps

    def _under_mask(self, cells: Float64, mask: npt.NDArray[np.bool_]) -> float:
        width, height = self.placement.frame.original
        if mask.dtype != np.bool_ or mask.shape != (height, width):
            raise OptionError(f"a mask must be bool ({height}, {width}), not {mask.dtype} {mask.shape}")
        across, down = spread(self.placement, 0, range(width + 1)), spread(self.placement, 1, range(height + 1))
        parts = (((down[:, a:b].T @ cells) @ across)[mask[a:b]].sum() for a, b in strips((width, height)))
        return float(sum(parts))


def _terms(target: Target) -> tuple[tuple[int, float], ...]:
    assert target.terms is not None  # who asks has seen to that: `summed`
    return target.terms


def account_at(account: Account | None, layer: str, head: str) -> Account:
    """`account`, of a layer. Raises OptionError where its head has none."""
    if account is None:
        raise OptionError(
            "what a place adds to a logit is known where global average pooling and one linear layer, or a class map, "
            f"follow the layer; at layer '{layer}' the head is {head}. Try the model's last layer"
        )
    return account


def summed(target: Target) -> Target:
    """`target`, if it is a sum of logits. Raises OptionError."""
    if not target.is_linear:
        raise OptionError(
            f"shares of a logit, or of a difference of two, add up; those of '{target.name}' ({target.quantity}) do "
            f"not. Explain a class, as in target={target.index}"
        )
    return target


def checked_box(region: object, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) within a photograph of `size` (W, H). Raises OptionError."""
    numbers = (region.left, region.top, region.right, region.bottom) if isinstance(region, Box) else region
    try:
        left, top, right, bottom = (as_number(number) for number in numbers)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        left = top = right = bottom = None
    if left is None or top is None or right is None or bottom is None:
        raise OptionError(f"region {shown(region)} is not left, top, right, bottom in pixels, nor a mask")
    if not (0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]):
        raise OptionError(
            f"region {left:g}, {top:g}, {right:g}, {bottom:g} is not left, top, right, bottom within the photograph's "
            f"{size[0]} x {size[1]} pixels"
        )
    return left, top, right, bottom


def checked_place(place: tuple[object, object], placement: Placement) -> tuple[float, float]:
    """(x, y) if the model saw that pixel of the original. Raises OptionError."""
    (width, height), (x, y) = placement.frame.original, map(as_number, place)
    if x is None or y is None:
        raise OptionError(f"place {', '.join(map(shown, place))} is not x, y: numbers of pixels of the original")
    if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
        raise OptionError(f"place {x:g}, {y:g} is outside the photograph: x is 0 to {width - 1}, y 0 to {height - 1}")
    left, top, right, bottom = placement.frame.box
    if not (left <= x + 0.5 <= right and top <= y + 0.5 <= bottom):
        raise OptionError(f"the model did not see the place {x:g}, {y:g}: explain with size=fit to show it all")
    return x, y


def spread(placement: Placement, axis: int, edges: Sequence[float]) -> Float64:
    """Which share of each cell lies between neighbouring edges: float64 (cells, len(edges) - 1), 0..1.

    axis: 0 across, 1 down. edges: rising, in pixels of the original, 0 being the photograph's own. What the model did
    not see holds nothing. Cells beyond what it saw lie on its outermost ones.
    """
    low, high = placement.frame.box[axis], placement.frame.box[axis + 2]
    inside = np.clip(np.asarray(edges, dtype=np.float64), low, high)
    centres = np.array([low, high, *inside]) - 0.5  # an edge is half a pixel before the centre that counts
    start, end, *upto = _integrals(placement.cell_at(centres, centres)[axis], placement.grid[axis])
    whole = end - start
    held = np.flatnonzero(whole > _OUTSIDE * whole.max())
    owner = np.clip(np.arange(len(whole)), held[0], held[-1])
    shares: Float64 = (np.diff(upto, axis=0) / np.where(whole > 0, whole, 1)).T[owner]
    return shares


def _integrals(places: Float64, cells: int) -> Float64:
    """Of each cell's weight in linear interpolation, held constant beyond the outermost: its integral up to each place.

    places: (m,), in cells. Returns (m, cells), up to a constant for each cell.
    """
    inside = np.clip(places, 0, cells - 1)
    off = np.clip(inside[:, None] - np.arange(cells), -1, 1)
    upto: Float64 = np.where(off < 0, (off + 1) ** 2 / 2, 1 - (1 - off) ** 2 / 2)
    upto[:, 0] += np.minimum(places, 0)
    upto[:, -1] += np.maximum(places - (cells - 1), 0)
    return upto


def _between(values: Float32, place: float) -> Float32:
    """`values` (..., n) at a place along the last axis: linear between, constant beyond."""
    inside = min(max(place, 0), values.shape[-1] - 1)
    before = int(inside)
    low, high = values[..., before], values[..., min(before + 1, values.shape[-1] - 1)]
    between: Float32 = low + (high - low) * np.float32(inside - before)
    return between
