"""Sharp: one map from several sizes of an image, its evidence shared among places alike.

Large inputs give more cells, the nominal one the context it was trained with. Under a linear head places that look
alike share their evidence (`camserve.methods.affinity`). Elsewhere the mirror image cancels what is not symmetric in
the network, and an earlier layer says where within a cell the evidence lies. What agrees adds up, what is chance
averages out. All of it is what the model itself saw: no prior, and nothing of the photograph's edges.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch

from camserve.catalogue.head_kinds import HeadKind
from camserve.catalogue.method import Progress
from camserve.catalogue.options import ExplainOptions
from camserve.errors import OptionError
from camserve.explain.looking import Observation, fuse
from camserve.explain.observation import observe
from camserve.explain.run import Run
from camserve.geometry.frame import Frame, Placement, resample
from camserve.graph.original.given import Given
from camserve.models.classifier import Classifier

Float32 = npt.NDArray[np.float32]
Placed = tuple[Float32, Placement]

# Cells of the combined map for one of the layer's, each way. On photographs with boxes a lattice twice as dense is
# no better; the earlier layer's own cells are about as wide.
FINER = 4
# Of every network, the earlier layer that goes with a layer; finding it cuts the network several times.
_details: WeakKeyDictionary[Given, dict[str, str | None]] = WeakKeyDictionary()
_lock = Lock()


@dataclass(frozen=True)
class Sharp:
    """map: float32 (h, w), 0..1. placement: where its cells lie. scales: the sizes used, the nominal one being 1."""

    map: Float32
    placement: Placement
    scales: tuple[float, ...]


def sharpen(
    model: Classifier,
    frame: Frame,
    pixels: Callable[[Frame], torch.Tensor],
    seen: Sequence[Sequence[Observation]],
    output_stride: int | None = None,
    progress: Progress | None = None,
) -> list[Sharp]:
    """One combined map per target; what runs is the method and the layers of `seen`.

    seen: what the nominal size showed, for each target in each layer. pixels: the input (1, c, h, w) of a frame.
    The map of every pass, its positive part over its maximum, is laid on one lattice, a quarter of the layer's stride;
    the sum, smoothed over one cell, over its maximum is the answer. One size at a time is in memory.
    """
    lattice = fine_lattice(fuse(list(seen[0]), frame)[1])
    total = [np.zeros(lattice.grid[::-1], np.float32) for _ in seen]
    how, run = ExplainOptions(method=seen[0][0].method.name, output_stride=output_stride), Run(progress=progress)
    scales, coarsest = [], max(one.layer.stride for one in seen[0])
    sizes, shared = list(scaled_frames(model, frame, coarsest)), _is_shared(seen)
    for scale, scaled in sizes:
        try:
            detail = scale == 1 and (len(sizes) == 1 or not shared)
            for shown in _passes(model, pixels(scaled), scaled, seen, how, run, shared=shared, detail=detail):
                total = [before + resample(*one, lattice) for before, one in zip(total, shown, strict=True)]
        except OptionError:  # a size that this network does not take
            if scale == 1:
                raise
            continue
        scales.append(scale)
    return [Sharp(_relative(_smooth(one)), lattice, tuple(scales)) for one in total]


def scaled_frames(model: Classifier, frame: Frame, stride: tuple[float, float]) -> Iterator[tuple[float, Frame]]:
    """The sizes of `sharp.scales` that the network takes and `explain.max_input_megapixels` allows.

    Sides other than the nominal ones are whole numbers of cells, `stride` input pixels each: a network that drops
    what does not fill a cell would miss the last part of the image.
    """
    largest, multiple = model.settings.explain.max_input_megapixels * 1e6, max(1, model.network.multiple)
    for scale in model.settings.sharp.scales if model.network.takes_any_size else (1.0,):
        width, height = (
            round(max(1, round(side * scale / step)) * step)
            for side, step in zip(frame.input, (math.lcm(round(one), multiple) for one in stride), strict=True)
        )
        if scale == 1:
            yield scale, frame
        elif width * height <= largest:
            yield scale, replace(frame, input=(width, height))


def fine_lattice(coarse: Placement) -> Placement:
    """Cells FINER times as dense over the same pixels; none narrower than 4 input pixels, except where they were."""

    def finer(axis: int) -> tuple[int, float, float]:
        stride = coarse.stride[axis]
        fine = max(stride / FINER, min(stride, 4.0))
        return round(coarse.grid[axis] * stride / fine), fine, coarse.offset[axis] + (fine - stride) / 2

    (across, fine_x, x), (down, fine_y, y) = finer(0), finer(1)
    return Placement(coarse.frame, (across, down), (fine_x, fine_y), (x, y))


def detail_layer(model: Classifier, name: str) -> str | None:
    """Where detail is looked for: the last layer with about FINER times the cells each way that nothing goes around.

    Beside a skip connection a layer holds but a part of what the network knows there. None where there is no such
    layer, as in a transformer, whose grid is the same throughout.
    """
    with _lock:
        known = _details.setdefault(model.network.given, {})
        if name not in known:
            known[name] = _find_detail(model, name)
        return known[name]


def _find_detail(model: Classifier, name: str) -> str | None:
    names = _candidates(model.layers(), name)
    if model.network.graph is None:  # no graph says what goes around; whole stages have short names
        return min(names, key=lambda one: one.count("."), default=None)
    image = model.network.given.image()
    with torch.no_grad():
        return next((one for one in names if not model.network.cut(one).body(image)[1]), None)


def _candidates(layers: dict[str, tuple[int, ...]], name: str) -> list[str]:
    """The layers of the grid nearest to FINER times that of `name`, the last one first."""
    before = list(layers)[: list(layers).index(name)] if name in layers else []
    ratios = {one: layers[one][1] / layers[name][1] for one in before}
    near = {ratio for ratio in ratios.values() if FINER / 1.5 <= ratio <= FINER * 1.5}
    nearest = min(near, key=lambda ratio: abs(ratio - FINER), default=None)
    return [one for one in reversed(before) if ratios[one] == nearest]


def _is_shared(seen: Sequence[Sequence[Observation]]) -> bool:
    """Whether channels of the layers are features that tell places apart, as behind them comes a linear head."""
    return all(one.layer.head.kind is HeadKind.LINEAR for one in seen[0])


def _passes(
    model: Classifier,
    images: torch.Tensor,
    frame: Frame,
    seen: Sequence[Sequence[Observation]],
    how: ExplainOptions,
    run: Run,
    *,
    shared: bool,
    detail: bool,
) -> Iterator[list[Placed]]:
    """What each target shows in one pass after another, and in the earlier layer. Shared evidence needs no mirror."""
    targets, layers = [one[0].target for one in seen], [one.layer for one in seen[0]]
    earlier = detail_layer(model, max(layers, key=lambda layer: layer.stride).name) if detail else None
    for mirrored in (False,) if shared else (False, True):
        given = images.flip(-1) if mirrored else images
        by_layer = [observe(model, given, targets, layer.name, how, run, shared=shared) for layer in layers]
        yield [_unmirrored(_relative_of(fuse(list(one), frame)), mirrored) for one in zip(*by_layer, strict=True)]
        if earlier is not None:
            fine = observe(model, given, targets, earlier, ExplainOptions(method="layercam"), Run())
            yield [_unmirrored(_relative_of(fuse([one], frame)), mirrored) for one in fine]


def _unmirrored(placed: Placed, mirrored: bool) -> Placed:
    grid_map, placement = placed
    return (grid_map[:, ::-1], placement.mirrored) if mirrored else placed


def _relative_of(placed: Placed) -> Placed:
    """The positive part over its maximum; zeros where the map has no number."""
    grid_map, placement = placed
    return _relative(np.nan_to_num(grid_map, nan=0, posinf=0, neginf=0)), placement


def _relative(grid_map: Float32) -> Float32:
    """The positive part over its maximum; zeros where there is none."""
    positive: Float32 = grid_map.clip(0)
    peak = positive.max()
    return positive / peak if peak > 0 else positive


def _smooth(grid_map: Float32) -> Float32:
    """Over one cell each way, with weights 1 2 1: what the passes disagree about by less than a cell is no detail."""
    wide = np.pad(grid_map, 1, mode="edge")
    across: Float32 = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / np.float32(4)
    smooth: Float32 = (across[:-2] + 2 * across[1:-1] + across[2:]) / np.float32(4)
    return smooth
