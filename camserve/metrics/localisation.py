"""Does the heat lie where the object is? Heat (H, W) is compared with a mask, bool (H, W), of one image.

Only positive heat counts; NaN, a pixel that the model did not see, counts as 0. Pixels of equal heat form one
threshold, or count by their mean, so that no result depends on the order of pixels. All functions raise OptionError if
the mask has another shape or no pixel.
"""

import numpy as np

from camserve.errors import OptionError
from camserve.metrics.heat import Float, Float64, Indices, Mask, area_under, object_mask, positive
from camserve.metrics.of_scipy import regions

# How many pixels from the object `pointing_within` still counts as a hit.
TOLERANCE = 15
# Overlaps that count as a hit in MaxBoxAccV2.
HITS = (0.3, 0.5, 0.7)
# Thresholds of MaxBoxAccV2: heat in 8 bits, > 0 .. > 254.
STEPS = 255


def pointing(heat: Float, inside: Mask) -> float:
    """Return 1 if the hottest pixel is inside, else 0; for several, the share inside. Zhang et al., ECCV 2016."""
    part, mask = positive(heat), object_mask(heat, inside)
    return float(mask[part == part.max()].mean())


def pointing_within(heat: Float, inside: Mask) -> float:
    """Return `pointing`, where pixels at most 15 pixels from the object count as inside, as in the paper."""
    return pointing(heat, _grown(object_mask(heat, inside), TOLERANCE))


def pixel_ap(heat: Float, inside: Mask) -> float:
    """Return the average precision of pixels ranked by heat, 0..1: the exact PxAP of Choe et al., CVPR 2020."""
    hits, taken, wanted = _ranked(heat, inside)
    return float((hits / taken * np.diff(hits / wanted, prepend=0)).sum())


def pixel_auroc(heat: Float, inside: Mask) -> float:
    """Return P(heat inside > heat outside) + P(equal) / 2, 0..1. Raises OptionError if every pixel is inside."""
    hits, taken, wanted = _ranked(heat, inside)
    misses = taken - hits
    if misses[-1] == 0:
        raise OptionError("the mask covers the whole image: pixel_auroc compares inside with outside, so leave it out")
    return area_under(np.append(0, hits / wanted), np.append(0, misses / misses[-1]))


def best_iou(heat: Float, inside: Mask) -> float:
    """Return the best intersection over union with the mask over all thresholds, 0..1. Choe et al., CVPR 2020."""
    hits, taken, wanted = _ranked(heat, inside)
    return float((hits / (taken + wanted - hits)).max())


def energy(heat: Float, inside: Mask) -> float:
    """Return the share of the heat inside, 0..1; without heat, the share of pixels inside. Wang et al., CVPRW 2020."""
    part, mask = positive(heat), object_mask(heat, inside)
    return float(part[mask].sum() / part.sum() if part.any() else mask.mean())


def cell_of_grid(shape: tuple[int, int], count: int, row: int, column: int) -> Mask:
    """Return the mask of a cell of a count x count mosaic, bool (H, W). Raises OptionError if there is no such cell."""
    if not (0 <= row < count <= min(shape) and 0 <= column < count):
        raise OptionError(f"a mosaic of {count} x {count} cells has no cell ({row}, {column}) in {shape} pixels")
    rows, columns = (np.arange(side) * count // side for side in shape)
    return np.asarray((rows[:, None] == row) & (columns == column))


def grid_pg(heat: Float, inside: Mask) -> float:
    """Return the share of the heat in the class's own cell, 0..1. inside: `cell_of_grid`. Böhle et al., CVPR 2021."""
    return energy(heat, inside)


def grid_auroc(heat: Float, inside: Mask) -> float:
    """Return `pixel_auroc` of the class's own cell against the other cells. inside: `cell_of_grid`."""
    return pixel_auroc(heat, inside)


def box_overlaps(heat: Float, inside: Mask) -> Float64:
    """Return for each threshold the best IoU of a box of hot pixels with a box of a part of the mask: (255,).

    Boxes enclose connected regions; touching corners connect. Needs the extra `metrics`. Choe et al., arXiv:2007.04178.
    """
    wanted, part = regions(object_mask(heat, inside)), positive(heat)
    spread = part.max() - part.min()
    levels = ((part - part.min()) / spread * STEPS if spread > 0 else part * 0).astype(np.uint8)
    return np.array([_best_overlap(regions(levels > step), wanted) for step in range(STEPS)])


def max_box_acc_v2(heat: Float, inside: Mask) -> float:
    """Return MaxBoxAccV2 of one image at its best threshold: 0, 1/3, 2/3 or 1. Needs the extra `metrics`."""
    return max_box_acc_v2_of_all(box_overlaps(heat, inside)[None])


def max_box_acc_v2_of_all(overlaps: Float) -> float:
    """Return MaxBoxAccV2 of a dataset, 0..1. overlaps: `box_overlaps` of each image, (N, 255).

    Each step counts at its best threshold, the same for all images.
    """
    return float(np.mean([(np.asarray(overlaps) >= hit).mean(0).max() for hit in HITS]))


def _ranked(heat: Float, inside: Mask) -> tuple[Indices, Indices, int]:
    """Count (pixels inside, all pixels) at least as hot as each value, the hottest first; and all pixels inside."""
    part, mask = positive(heat).ravel(), object_mask(heat, inside).ravel()
    order = np.argsort(-part, kind="stable")
    ranked, found = part[order], np.cumsum(mask[order], dtype=np.intp)
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # the last pixel of each value
    return found[ends], ends + 1, int(found[-1])


def _grown(mask: Mask, radius: int) -> Mask:
    """Return the mask with all pixels at most `radius` pixels from it."""
    height, width = mask.shape
    padded, grown = np.pad(mask, radius), np.zeros_like(mask)
    for down in range(-radius, radius + 1):
        reach = int(np.sqrt(radius**2 - down**2))
        rows = padded[radius + down : radius + down + height].astype(np.intp)
        before = np.cumsum(np.pad(rows, ((0, 0), (1, 0))), axis=1)
        left, right = radius - reach, radius + reach + 1
        grown |= before[:, right : right + width] > before[:, left : left + width]
    return grown


def _best_overlap(found: Indices, wanted: Indices) -> float:
    """Return the best IoU of boxes (n, 4) with boxes (m, 4): top, left, bottom, right, the last two exclusive."""
    if not len(found):
        return 0.0
    low, high = np.maximum(found[:, None, :2], wanted[:, :2]), np.minimum(found[:, None, 2:], wanted[:, 2:])
    common = np.clip(high - low, 0, None).prod(2)
    sizes = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (found, wanted)]
    return float((common / (sizes[0][:, None] + sizes[1] - common)).max())
