"""Segmentation networks and detectors: which layer to explain, and the input of torchvision's detectors."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from camserve.models.card_input import Input

# Largest number of input pixels between cells of the layer: the usual stride is 32, and a detector may shrink its
# input. Coarser layers, at the end of a pyramid, hardly locate anything.
_WIDEST = 48
# Modules that return several grids: no box depends on all of them.
_PYRAMID = {"fpn", "extra"}
# First module of torchvision's detectors: it resizes the input, subtracts the mean and divides by the deviation.
_TRANSFORM = "GeneralizedRCNNTransform"


def last_of_backbone(layers: Mapping[str, tuple[int, ...]], size: tuple[int, int]) -> str | None:
    """The last layer of the network's `backbone`, without its pyramid.

    layers: (K, h, w) by name, for an input of `size` (w, h). None if no layer has that name; then the last layer with
    spatial cells is used, as for classifiers.
    """
    named = [name.split(".") for name in layers]
    inside = [".".join(parts) for parts in named if parts[0] == "backbone" and not _PYRAMID & set(parts)]
    cells = size[1] // _WIDEST, size[0] // _WIDEST
    fine = [name for name in inside if layers[name][1] >= cells[0] and layers[name][2] >= cells[1]]
    return (fine or inside)[-1] if inside else None


def input_of(module: nn.Module, stated: Input) -> Input:
    """The stated input; for torchvision's detectors, completed by their own size and the range 0..1."""
    transform: Any = getattr(module, "transform", None)
    if type(transform).__name__ != _TRANSFORM or stated.count != 3:
        return stated
    known = {"size": min(transform.min_size), "crop": 1.0, "mean": (0, 0, 0), "std": (255, 255, 255)}
    return Input(**{**known, **{name: getattr(stated, name) for name in stated.model_fields_set}})
