"""Checks of maps: completeness, layer, placement, flip."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from camserve.evaluation.bench import CONSTANT, Bench, Float32
from camserve.evaluation.check import Check, Limit, Number, held, untold
from camserve.explain.diagnosis import early
from camserve.geometry.frame import native
from camserve.metrics.randomisation import pearson

# The fewest cells along a side. With fewer cells, a map cannot show places: one cell is a quarter of a side or more.
FEWEST_CELLS = 4
# The largest error of placement, in cells: with more than half a cell, heat is nearer to the neighbouring cell.
MOST_OFF = 0.5
# The least correlation of a map with the map of the mirrored picture. Trained networks treat mirror images only nearly
# the same: EfficientNet-Lite0 0.96, SqueezeNet 0.84, ResNet-20 on 32 x 32 pixels 0.71, a ViT 0.49 (docs/sanity.md).
# Maps of unrelated inputs have about 0.
LEAST_MIRRORED = 0.3
# The places of patches around the middle of the input, in strides: all phases of the stride, symmetric to the middle.
_STEPS = (-0.375, -0.125, 0.125, 0.375)
# The least width of a patch in pixels. Cells smaller than this count as cells of this width.
_WIDTH = 4.0
# The share of a patch's width over which its edge fades.
_SOFT = 0.25


def completeness(bench: Bench) -> Check:
    """Compare mean(class map) + bias with the logit, for every picture."""
    missing = [
        found.completeness / max(1.0, abs(float(found.logits[found.class_index])))
        for found in bench.explanations
        if found.completeness is not None
    ]
    if not missing:
        return untold(
            "completeness", f"a head of the kind '{bench.explanations[0].head}' has no map that adds up to the logit"
        )
    closed = bench.model.closed
    tolerance = bench.layer.engine.tolerance if closed is None else closed.engine.tolerance
    return held(
        "completeness",
        {"missing": max(missing), "each": missing},
        Limit("missing", most=tolerance),
        "the mean of the class map plus the bias is the logit",
        "the class map does not add up to the logit",
    )


def layer(bench: Bench) -> Check:
    """Check whether the layer is the last one with places, has enough cells, and has cells that can see objects."""
    model, chosen = bench.model, bench.layer
    height, width = bench.layer_grid
    last, field = model.network.default_layer(), chosen.field()
    numbers: dict[str, Number] = {"cells": min(width, height), "across": width, "down": height, "last": last}
    if field is not None:
        numbers["seen"] = round(max(field.size))
    limit = Limit("cells", least=FEWEST_CELLS)
    why = early(model, chosen, last)
    if why is not None:
        return Check("layer", False, numbers, limit, f"layer '{chosen.name}' is early: {why}; the last is '{last}'")
    place = "the last with places" if chosen.name == last else f"not the last with places, which is '{last}'"
    good = f"layer '{chosen.name}' is {place}: {width} x {height} cells"
    bad = f"layer '{chosen.name}' has {width} x {height} cells: too few to show places; try an earlier layer"
    return held("layer", numbers, limit, good, bad)


def placement(bench: Bench) -> Check:
    """Compare the place of a change in the input with the place where the map shows it.

    The check paints a patch over each picture at places around the middle. It takes the centroid of the squared change
    of the layer's activations, and converts it to input pixels with the layer's own placement.
    """
    images, where = bench.inputs[0], bench.layer
    size = images.shape[-1], images.shape[-2]
    if min(bench.layer_grid) < FEWEST_CELLS:
        return untold("placement", "there are too few cells to measure places")
    middles = [((size[0] - 1) / 2 + step * where.stride[0], (size[1] - 1) / 2 + other * where.stride[1])
               for step in _STEPS for other in _STEPS]  # fmt: skip
    offs = []
    for picture in bench.inputs:
        changed = bench.run(lambda picture=picture: _changes(bench, picture, middles))  # type: ignore[misc]
        placed = where.placement(native(size), (changed.shape[-1], changed.shape[-2]))
        found = [placed.cell_centre(*_centroid(one)) for one in changed]
        offs.append(np.mean([np.subtract(one, middle) for one, middle in zip(found, middles, strict=True)], 0))
    off = np.mean(offs, 0)
    numbers: dict[str, Number] = {
        "cells off": float(np.abs(off / np.maximum(where.stride, _WIDTH)).max()),
        "pixels across": float(off[0]),
        "pixels down": float(off[1]),
        "allowed": [MOST_OFF * max(step, _WIDTH) for step in where.stride],
    }
    if not np.isfinite(off).all():
        return untold("placement", "a patch over the middle of the pictures changes nothing at the layer")
    words = f"{off[0]:+.1f} pixels across, {off[1]:+.1f} down"
    return held(
        "placement",
        numbers,
        Limit("cells off", most=MOST_OFF),
        f"the map shows a small patch at its true place ({words})",
        f"the map shows a small patch at a wrong place ({words}): see `camserve calibrate`",
    )


def _changes(bench: Bench, picture: Tensor, middles: list[tuple[float, float]]) -> npt.NDArray[np.float64]:
    """The squared change of each cell, (places, h, w), for a patch of a cell's size at each of these pixels."""
    plain = bench.layer.on_torch.activations(picture)[0]
    found = []
    for number, middle in enumerate(middles):
        painted = _painted(picture, middle, bench.layer.stride, number)
        found.append((bench.layer.on_torch.activations(painted)[0] - plain).double().square().sum(1)[0].cpu())
    changed: npt.NDArray[np.float64] = torch.stack(found).numpy()
    return changed


def _painted(picture: Tensor, middle: tuple[float, float], stride: tuple[float, float], seed: int) -> Tensor:
    """`picture` (1, c, h, w) with a soft patch of noise as wide as a cell around a pixel (x, y)."""
    height, width = picture.shape[-2:]
    masks = []
    for side, at, step in ((height, middle[1], stride[1]), (width, middle[0], stride[0])):
        half = max(step, _WIDTH) / 2
        far = (torch.arange(side) - at).abs()
        masks.append(((half - far) / (2 * half * _SOFT) + 0.5).clamp(0, 1))
    mask = masks[0][:, None] * masks[1][None]
    chance = torch.Generator().manual_seed(seed)
    noise = torch.randn((1, picture.shape[1], -(-height // 2), -(-width // 2)), generator=chance)
    noise = F.interpolate(noise, scale_factor=2.0)[..., :height, :width]
    return picture + mask * (1.5 * noise - picture)


def _centroid(heat: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The centroid (column, row) of the values of a grid (h, w); NaN if their sum is 0."""
    total = heat.sum() or np.nan
    down, across = heat.sum(1) / total, heat.sum(0) / total
    return float(across @ np.arange(len(across))), float(down @ np.arange(len(down)))


def flip(bench: Bench) -> Check:
    """Check whether the map of the mirrored picture is the mirrored map; only for pictures that keep their class."""
    if not bench.has_maps:
        return untold("flip", CONSTANT)
    each = []
    for images, target, own in zip(bench.inputs, bench.targets, bench.maps, strict=True):
        turned = images.flip(-1)
        if int(bench.run(lambda turned=turned: bench.layer.observe(turned)[2]).argmax()) == target.index:  # type: ignore[misc]
            each.append(pearson(_on_cells(bench, own), _on_cells(bench, bench.map(turned, target)[:, ::-1])))
    if not each:
        return untold("flip", "the network gives all mirrored pictures another class")
    return held(
        "flip",
        {"correlation": float(np.mean(each)), "each": each},
        Limit("correlation", least=LEAST_MIRRORED),
        "the mirrored picture has the mirrored map",
        "the mirrored picture has another map: it depends on left and right",
    )


def _on_cells(bench: Bench, found: Float32) -> Float32:
    """The map; if it has a value per pixel, pooled to cells, because mirroring shifts pixels within strides."""
    if bench.method.lattice == "layer":
        return found
    pooled: Float32 = F.adaptive_avg_pool2d(torch.from_numpy(np.abs(found))[None], bench.layer_grid)[0].numpy()
    return pooled
