"""Makes pictures of objects at known places on a plain background, to measure where a model's cells are.

All values are those of the network's input, (value - mean) / std; a background of the mean colour is 0.
"""

import math

import torch
from torch.nn import functional as F

Place = tuple[int, int]

# Number of places along an axis. They are evenly spread over one stride, so an object lies as often between two cells
# as on one.
PLACES = 4
# The place along y for each place along x. They are uncorrelated, so that each axis has its own slope.
_ACROSS_TO_DOWN = (1, 3, 0, 2)
# The share of an object's half side over which it fades; a network would see a hard edge as part of the object.
_SOFT = 0.3


def soft_edged(patch: torch.Tensor) -> torch.Tensor:
    """`patch` (c, p, p) as a disc that fades to the background, 0, over its outermost 30 %."""
    side = patch.shape[-1]
    across = (torch.arange(side) + 0.5) * (2 / side) - 1
    radius = torch.hypot(across[:, None], across[None])
    return patch * ((1 - radius) / _SOFT).clamp(0, 1)


def turned(patch: torch.Tensor) -> list[torch.Tensor]:
    """The eight positions of a square: four quarter turns, each also mirrored.

    For each position the list also has its mirror images left to right and upside down, so the asymmetry of the object
    cancels out in the mean.
    """
    return [turn for one in (patch, patch.flip(-1)) for turn in (one.rot90(k, (-2, -1)) for k in range(4))]


def places(middle: tuple[float, float], side: int, stride: tuple[float, float]) -> list[Place]:
    """The left and top edges for an object of `side` at places around the pixel `middle`, (x, y).

    Along each axis the places are a quarter of the stride apart, rounded to whole pixels.
    """

    def edges(axis: int) -> list[int]:
        steps = (number - (PLACES - 1) / 2 for number in range(PLACES))
        return [math.floor(middle[axis] - (side - 1) / 2 + step * stride[axis] / PLACES) for step in steps]

    down = edges(1)
    return [(left, down[number]) for left, number in zip(edges(0), _ACROSS_TO_DOWN, strict=True)]


def pasted(patch: torch.Tensor, where: list[Place], size: tuple[int, int]) -> torch.Tensor:
    """(N, c, h, w): the patch (c, p, p) at each of N places on a plain input of `size` (w, h)."""
    (width, height), side = size, patch.shape[-1]
    return torch.stack([F.pad(patch, (left, width - left - side, top, height - top - side)) for left, top in where])


def centres(where: list[Place], side: int) -> torch.Tensor:
    """(N, 2): the pixels (x, y) on which objects of `side` at these places are centred."""
    return torch.tensor(where, dtype=torch.float64) + (side - 1) / 2
