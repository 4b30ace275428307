"""Sharp: one map from several sizes of an image; similar places share their evidence.

Larger inputs give more cells; the nominal size gives the context that the network was trained with. With a linear head,
places that look alike share their evidence (`camserve.methods.affinity`). With other heads, the mirror image cancels
asymmetries of the network, and an earlier layer says where within a cell the evidence lies. What the passes agree on
adds up, and noise averages out. The map contains only what the model itself saw: no prior, and no edges of the
photograph.
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

# Cells of the combined map for one cell of the layer, in each direction. On photographs with boxes a lattice twice as
# dense was no better; the earlier layer's own cells are about as wide.
FINER = 4
# A cache: for every network, the earlier layer for a layer. Finding it cuts the network several times.
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
    """Make one combined map per target, with the method and the layers of `seen`.

    seen: the observations at the nominal size, for each target in each layer. pixels: the input (1, c, h, w) of a
    frame. The positive part of each pass's map, divided by its maximum, is resampled to one lattice with a quarter of
    the layer's stride. The result is the sum, smoothed over one cell, divided by its maximum. One size at a time is in
    memory.
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
    """Yield the sizes of `sharp.scales` that the network takes and `explain.max_input_megapixels` allows.

    Every size except the nominal one is a whole number of cells of `stride` input pixels. A network that drops pixels
    that do not fill a cell would otherwise miss the last part of the image.
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
    """Return cells FINER times as dense over the same pixels, but no cell becomes narrower than 4 input pixels."""

    def finer(axis: int) -> tuple[int, float, float]:
        stride = coarse.stride[axis]
        fine = max(stride / FINER, min(stride, 4.0))
        return round(coarse.grid[axis] * stride / fine), fine, coarse.offset[axis] + (fine - stride) / 2

    (across, fine_x, x), (down, fine_y, y) = finer(0), finer(1)
    return Placement(coarse.frame, (across, down), (fine_x, fine_y), (x, y))


def detail_layer(model: Classifier, name: str) -> str | None:
    """Return the layer for detail: the last with about FINER times the cells each way and no skip connection around it.

    A layer beside a skip connection holds only a part of what the network knows there. None if there is no such layer,
    as in a transformer, whose grid is the same in all layers.
    """
    with _lock:
        known = _details.setdefault(model.network.given, {})
        if name not in known:
            known[name] = _find_detail(model, name)
        return known[name]


def _find_detail(model: Classifier, name: str) -> str | None:
    names = _candidates(model.layers(), name)
    if model.network.graph is None:  # skip connections are unknown, but whole stages have short names
        return min(names, key=lambda one: one.count("."), default=None)
    image = model.network.given.image()
    with torch.no_grad():
        return next((one for one in names if not model.network.cut(one).body(image)[1]), None)


def _candidates(layers: dict[str, tuple[int, ...]], name: str) -> list[str]:
    """Return the layers whose grid is nearest to FINER times the grid of `name`, the last layer first."""
    before = list(layers)[: list(layers).index(name)] if name in layers else []
    ratios = {one: layers[one][1] / layers[name][1] for one in before}
    near = {ratio for ratio in ratios.values() if FINER / 1.5 <= ratio <= FINER * 1.5}
    nearest = min(near, key=lambda ratio: abs(ratio - FINER), default=None)
    return [one for one in reversed(before) if ratios[one] == nearest]


def _is_shared(seen: Sequence[Sequence[Observation]]) -> bool:
    """Whether all layers have a linear head, so that their channels are features that tell places apart."""
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
    """Yield the maps of all targets for each pass, and for the earlier layer. Shared evidence needs no mirror image."""
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
    """Return the positive part divided by its maximum; values that are not finite become 0."""
    grid_map, placement = placed
    return _relative(np.nan_to_num(grid_map, nan=0, posinf=0, neginf=0)), placement


def _relative(grid_map: Float32) -> Float32:
    """Return the positive part divided by its maximum; zeros if no value is positive."""
    positive: Float32 = grid_map.clip(0)
    peak = positive.max()
    return positive / peak if peak > 0 else positive


def _smooth(grid_map: Float32) -> Float32:
    """Smooth over one cell each way, with weights 1 2 1: the passes disagree by less than a cell."""
    wide = np.pad(grid_map, 1, mode="edge")
    across: Float32 = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / np.float32(4)
    smooth: Float32 = (across[:-2] + 2 * across[1:-1] + across[2:]) / np.float32(4)
    return smooth
