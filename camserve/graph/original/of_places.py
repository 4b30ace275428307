"""Segmentation and detection networks answer for places, not for the image. Here they get one score for each class.

A segmentation network gives maps of logits M_c. A class's score is the sum of M_c over the pixels where c is the
answer, divided by the number of all pixels: S_c = mean [c = argmax M] M_c. In a single map, the answer is c where the
map is above 0. Within a region, the score is the mean of M_c there, whatever the answer is. A detector gives boxes: S_c
is the highest score of a box of class c; within a region, the highest score times overlap (intersection over union), as
Petsiuk et al. compare detections (CVPR 2021). Gradients hold the choice of pixels, the box and its overlap fixed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from camserve.errors import ModelError
from camserve.graph.original.answer_parts import maps_in, parts_of_answer
from camserve.graph.original.logits import Part

# Left, top, right and bottom as shares of the input's width and height.
Region = tuple[float, float, float, float]

# Maps of classes have at least one cell for every 8 x 8 pixels of the input; coarser maps are features.
_COARSEST = 8
_BOXES = {"boxes", "labels", "scores"}
MAPS = (
    "the network answers with a map of each class: the score of a class is the sum of its map over the pixels where it "
    "is the answer, divided by the number of all pixels"
)
MAPS_WITHIN = "the network answers with a map of each class: the score of a class is the mean of its map in the region"
BOXES = "the network answers with boxes: the score of a class is the score of its best box"
BOXES_WITHIN = (
    "the network answers with boxes: the score of a class is the score of its best box times the overlap of box and "
    "region (intersection over union)"
)


@dataclass(frozen=True)
class Places:
    """An answer for places. maps: the path to the maps (N, C, h, w); None for boxes of `classes` classes."""

    maps: Part | None
    classes: int = 0

    def note(self, region: Region | None) -> str:
        """The note for explanations."""
        if self.maps is None:
            return BOXES if region is None else BOXES_WITHIN
        return MAPS if region is None else MAPS_WITHIN


def places_in(answer: Any, images: Tensor, module: nn.Module, labels: int | None) -> Places | None:
    """The Places of a module's answer to images (N, c, H, W); None if the module answers for the whole image.

    labels: how many classes have names. Raises ModelError for boxes if the number of classes is not known.
    """
    if _are_boxes(answer):
        return Places(None, labels or _classes(module))
    if isinstance(answer, Tensor) or not parts_of_answer(answer, len(images)).outputs:
        part, shape = maps_in(answer, len(images)) or (None, (0, 0))
        fine = all(_COARSEST * side >= whole for side, whole in zip(shape, images.shape[-2:], strict=True))
        if part is not None and fine and min(shape) > 1:
            return Places(part)
    return None


def scored(module: nn.Module, places: Places, region: Region | None) -> nn.Module:
    """`module` itself, changed to answer images with scores (N, C)."""
    kind, maps, classes = type(module), places.maps, places.classes

    def forward(self: nn.Module, images: Tensor) -> Tensor:
        if maps is None:
            return scores_of_boxes(kind.forward(self, images), images, classes, region)
        return scores_of_maps(maps.taken(kind.forward(self, images)), region)

    module.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
    return module


def scores_of_maps(maps: Tensor, region: Region | None) -> Tensor:
    """(N, C, h, w) -> (N, C)."""
    if region is not None:
        height, width = maps.shape[-2:]
        left, top, right, bottom = region
        rows, columns = _cells(top, bottom, height), _cells(left, right, width)
        return maps[:, :, rows, columns].mean((2, 3))
    answers = maps > 0 if maps.shape[1] == 1 else _answers(maps)
    return (maps * answers).mean((2, 3))


fx.wrap("scores_of_maps")  # a single step of a traced graph


def scores_of_boxes(answers: list[Mapping[str, Tensor]], images: Tensor, classes: int, region: Region | None) -> Tensor:
    """Boxes with labels and scores, for each of N images -> (N, C)."""
    return torch.stack([_best(answer, images, classes, region) for answer in answers])


def _best(answer: Mapping[str, Tensor], images: Tensor, classes: int, region: Region | None) -> Tensor:
    scores, labels = answer["scores"].float(), answer["labels"]
    if region is not None:
        width, height = images.shape[-1], images.shape[-2]
        scores = scores * _overlap(
            answer["boxes"].detach(), scores.new_tensor(region) * scores.new_tensor([width, height] * 2)
        )
    best = []
    for index in range(classes):
        own = scores[labels == index]
        best.append(own[own.argmax()] if len(own) else images.new_zeros(()))
    return torch.stack(best)


def _overlap(boxes: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of boxes (M, 4) with another box, (M,)."""
    sides = (torch.minimum(boxes[:, 2:], other[2:]) - torch.maximum(boxes[:, :2], other[:2])).clamp(min=0)
    common = sides.prod(1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (other[2:] - other[:2]).prod() - common
    return common / union.clamp(min=1e-9)


def _answers(maps: Tensor) -> Tensor:
    """Where each class is the answer, bool (N, C, h, w)."""
    return maps.argmax(1, keepdim=True) == torch.arange(maps.shape[1], device=maps.device)[None, :, None, None]


def _cells(first: float, last: float, count: int) -> slice:
    """The cells, of `count`, between two shares of a side; at least one cell."""
    start = min(int(first * count + 0.5), count - 1)
    return slice(start, max(start + 1, int(last * count + 0.5)))


def _are_boxes(answer: Any) -> bool:
    return (
        isinstance(answer, list)
        and bool(answer)
        and all(isinstance(one, Mapping) and set(one) >= _BOXES for one in answer)
    )


def _classes(module: nn.Module) -> int:
    """The number of a detector's classes including the background, read from torchvision's attributes."""
    for part in module.modules():
        if isinstance(number := getattr(part, "num_classes", getattr(part, "num_columns", None)), int):
            return number
        if isinstance(layer := getattr(part, "cls_score", None), nn.Linear):
            return layer.out_features
    raise ModelError(
        "the network answers with boxes, and their number of classes is not known: give labels, one for each class"
    )
