"""Networks that answer for places: where they are looked at, and what torchvision's detectors are given."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from camserve.models.card_input import Input

# Pixels of the input that a cell of the layer covers at most: the usual 32, or more where a detector makes its input
# smaller. What is coarser, at the end of a pyramid, says little of where.
_WIDEST = 48
# Modules that give several grids: no box depends on all of them.
_PYRAMID = {"fpn", "extra"}
# What torchvision's detectors begin with: it scales to their size, subtracts the mean and divides by the deviation.
_TRANSFORM = "GeneralizedRCNNTransform"


def last_of_backbone(layers: Mapping[str, tuple[int, ...]], size: tuple[int, int]) -> str | None:
    """The last layer before the network goes over to classes of places: of its `backbone`, without the pyramid.

    layers: (K, h, w) by name, for an input of `size` (w, h). None where no layer is called so, and the last layer that
    has places is taken as always.
    """
    named = [name.split(".") for name in layers]
    inside = [".".join(parts) for parts in named if parts[0] == "backbone" and not _PYRAMID & set(parts)]
    cells = size[1] // _WIDEST, size[0] // _WIDEST
    fine = [name for name in inside if layers[name][1] >= cells[0] and layers[name][2] >= cells[1]]
    return (fine or inside)[-1] if inside else None


def input_of(module: nn.Module, stated: Input) -> Input:
    """How a photograph becomes the input; where nobody stated it, torchvision's detectors get 0..1 at their size."""
    transform: Any = getattr(module, "transform", None)
    if type(transform).__name__ != _TRANSFORM or stated.count != 3:
        return stated
    known = {"size": min(transform.min_size), "crop": 1.0, "mean": (0, 0, 0), "std": (255, 255, 255)}
    return Input(**{**known, **{name: getattr(stated, name) for name in stated.model_fields_set}})
