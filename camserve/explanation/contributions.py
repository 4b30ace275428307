"""Which part of a logit comes from where: exact, for heads that add up over places.

With global average pooling and one linear layer, logit = bias + the mean of the class map over the cells; with a fully
convolutional classifier the same without the bias. So each cell adds a known number to the logit. Bilinear
interpolation gives each cell a weight in the heat at a pixel, and the cell's number is spread over the photograph in
proportion to this weight. The weight is integrated over the pixel's area and divided by its integral over the part of
the photograph that the model saw. So the shares of all pixels add up to the cell's number.
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

# A cell with less than this share of the widest cell's weight counts as outside the photograph: it is rounding error.
_OUTSIDE = 1e-6


@dataclass(frozen=True)
class Vote:
    """What a place says for one class. logits: the value of the class map there. Its mean, plus bias, is the logit."""

    class_index: int
    class_name: str
    logits: float


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """What each cell adds to the logits of some classes: logits[classes] = bias + mean of maps over cells.

    classes: indices. maps: float32 (n, h, w). bias: float32 (n,). placement: where the cells lie.
    """

    classes: tuple[int, ...]
    maps: Float32
    bias: Float32
    placement: Placement


@dataclass(frozen=True, eq=False)
class Account:
    """What each cell of a layer adds to each logit: logits = bias + mean over cells of weight @ activations.

    activations: float32 (K, h, w). weight: float32 (C, K), None if the activations are the class maps.
    bias: float32 (C,). placement: where the cells lie.
    """

    activations: Float32
    weight: Float32 | None
    bias: Float32
    placement: Placement

    def __reduce__(self) -> "tuple[type[Account], tuple[Float32, None, Float32, Placement]]":
        """Copies and pickles hold the class maps instead of the classifier's weights; both agree to float precision."""
        maps = self.activations if self.weight is None else np.einsum("ck,khw->chw", self.weight, self.activations)
        return Account, (maps, None, self.bias, self.placement)

    def within(self, frame: Frame) -> "Account":
        """Return the account with its cells placed in the photograph. frame: how the photograph became the input."""
        return replace(self, placement=replace(self.placement, frame=frame))

    def of_target(self, target: Target) -> Float64:
        """Return what each cell adds to the target, float64 (h, w). The target is `bias_of` plus the mean of these."""
        indices, factors = (list(part) for part in zip(*_terms(target), strict=True))
        if self.weight is None:
            return np.tensordot(np.array(factors), np.asarray(self.activations[indices], np.float64), 1)
        weight = np.array(factors) @ self.weight[indices].astype(np.float64)
        added: Float64 = np.einsum("k,khw->hw", weight, self.activations)
        return added

    def bias_of(self, target: Target) -> float:
        """Return the part of the target that comes from no place."""
        return float(sum(factor * float(self.bias[index]) for index, factor in _terms(target)))

    def share(self, target: Target, region: Region) -> float:
        """Return what a region of the original adds to the target, in logits.

        region: (left, top, right, bottom) in pixels, fractions allowed, right and bottom exclusive; a Box; or a mask,
        bool (H, W). Raises OptionError for any other value, and for a region that reaches outside the photograph.
        """
        cells = self.of_target(target) / self.of_target(target).size
        if isinstance(region, np.ndarray) and region.ndim == 2:
            return self._under_mask(cells, region)
        left, top, right, bottom = checked_box(region, self.placement.frame.original)
        across, down = spread(self.placement, 0, [left, right]), spread(self.placement, 1, [top, bottom])
        return float(down[:, 0] @ cells @ across[:, 0])

    def votes(self, x: float, y: float, labels: Sequence[str], count: int) -> list[Vote]:
        """Return the classes to which the place (x, y) of the original adds most, best first.

        The maps are interpolated bilinearly between cell centres. Raises OptionError if the model did not see (x, y).
        """
        count = whole_within("count", count, 0)
        u, v = self.placement.cell_at(*checked_place((x, y), self.placement))
        activations = _between(_between(self.activations, u), v)
        values = activations if self.weight is None else self.weight @ activations
        return [Vote(index, labels[index], float(values[index])) for index in ranked(values)[:count]]

    def class_map(self, index: int) -> Float32:
        """Return what each cell adds to a class's logit, float32 (h, w)."""
        maps = self.activations
        added: Float32 = maps[index] if self.weight is None else np.einsum("k,khw->hw", self.weight[index], maps)
        return added

    def class_maps(self, order: Sequence[int], most: int) -> "ClassMaps":
        """Return the maps of the first classes of `order`: at most `most` numbers together, but at least one map."""
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
    assert target.terms is not None  # the callers check this with `summed`
    return target.terms


def account_at(account: Account | None, layer: str, head: str) -> Account:
    """Return `account`. Raises OptionError if the head has none."""
    if account is None:
        raise OptionError(
            "what a place adds to a logit is known only if global average pooling and one linear layer, or a class "
            f"map, follow the layer; at layer '{layer}' the head is {head}. Try the model's last layer"
        )
    return account


def summed(target: Target) -> Target:
    """Return `target`. Raises OptionError if it is not a sum of logits."""
    if not target.is_linear:
        raise OptionError(
            f"shares add up for a logit, or for a difference of two, but not for '{target.name}' ({target.quantity}). "
            f"Explain a class, as in target={target.index}"
        )
    return target


def checked_box(region: object, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom) within a photograph of `size` (W, H). Raises OptionError."""
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
    """Return (x, y). Raises OptionError if the model did not see that pixel of the original."""
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
    """Return which share of each cell lies between neighbouring edges: float64 (cells, len(edges) - 1), 0..1.

    axis: 0 across, 1 down. edges: rising, in pixels of the original; 0 is the photograph's own edge. Pixels that the
    model did not see hold nothing. A cell outside of what the model saw counts as the outermost cell inside.
    """
    low, high = placement.frame.box[axis], placement.frame.box[axis + 2]
    inside = np.clip(np.asarray(edges, dtype=np.float64), low, high)
    centres = np.array([low, high, *inside]) - 0.5  # places are pixel centres: an edge is at -0.5
    start, end, *upto = _integrals(placement.cell_at(centres, centres)[axis], placement.grid[axis])
    whole = end - start
    held = np.flatnonzero(whole > _OUTSIDE * whole.max())
    owner = np.clip(np.arange(len(whole)), held[0], held[-1])
    shares: Float64 = (np.diff(upto, axis=0) / np.where(whole > 0, whole, 1)).T[owner]
    return shares


def _integrals(places: Float64, cells: int) -> Float64:
    """Integrate each cell's weight in linear interpolation up to each place. Beyond the last cell it is constant.

    places: (m,), in cells. Returns (m, cells), up to a constant for each cell.
    """
    inside = np.clip(places, 0, cells - 1)
    off = np.clip(inside[:, None] - np.arange(cells), -1, 1)
    upto: Float64 = np.where(off < 0, (off + 1) ** 2 / 2, 1 - (1 - off) ** 2 / 2)
    upto[:, 0] += np.minimum(places, 0)
    upto[:, -1] += np.maximum(places - (cells - 1), 0)
    return upto


def _between(values: Float32, place: float) -> Float32:
    """Interpolate `values` (..., n) at a place along the last axis: linear between, constant beyond the ends."""
    inside = min(max(place, 0), values.shape[-1] - 1)
    before = int(inside)
    low, high = values[..., before], values[..., min(before + 1, values.shape[-1] - 1)]
    between: Float32 = low + (high - low) * np.float32(inside - before)
    return between
