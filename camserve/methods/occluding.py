"""Methods that hide parts of the image and work with every network; and a random map, the baseline of all methods.

X is the network's input, P(X) the target of its class probabilities, as in the papers. A hidden pixel is 0 in the
network's own units, the mean colour of its training images.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from camserve.methods.evidence import Evidence, image_by_image

# RISE: the number of masks, their cells along each side, and the share of cells shown. Grid and share are the paper's;
# the paper uses 4000 to 8000 masks, which give less noise.
MASKS, CELLS, SHOWN = 1000, 7, 0.5
# Occlusion: how many windows fit side by side along each side; the stride is half a window.
WINDOWS = 7


@image_by_image
def rise(evidence: Evidence) -> Tensor:
    """RISE: the pixels that are shown whenever the score is high.

    map = sum_i (P(X M_i) - mean P) M_i / (MASKS SHOWN), mean over the masks M_i: CELLS x CELLS cells, each 1 with
    probability SHOWN, else 0, enlarged bilinearly and shifted by less than a cell. The paper does not subtract the
    mean, a constant plus the noise of an uneven cover; but then every pixel of a likely class is hot, and a value of 0
    has no meaning.
    Petsiuk et al., BMVC 2018, arXiv:1806.07421.
    """
    images, scored = evidence.around.images, evidence.of_probabilities
    draw = torch.Generator().manual_seed(0)
    grids = (torch.rand(MASKS, CELLS, CELLS, generator=draw) < SHOWN).to(images)
    shifts = torch.rand(MASKS, 2, generator=draw)
    total, cover = torch.zeros_like(images[0, 0]), torch.zeros_like(images[0, 0])

    def shown(part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        masks = _enlarged(grids[part], shifts[part.cpu()], images.shape[-2:])
        scores = scored.score_images(images * masks[:, None])
        return scores, torch.einsum("m,mhw->hw", scores, masks), masks.sum(0)

    every = []
    for scores, weighted, masks in evidence.of_parts(MASKS, shown):
        every.append(scores)
        total, cover = total + weighted, cover + masks
    return (total - torch.cat(every).mean() * cover)[None] / (MASKS * SHOWN)


def _enlarged(grids: Tensor, shifts: Tensor, size: torch.Size) -> Tensor:
    """Enlarge grids (M, c, c), one cell larger than the image, and cut each at its shift, 0..1 of a cell: (M, H, W)."""
    height, width = size
    down, across = math.ceil(height / CELLS), math.ceil(width / CELLS)
    large = ((CELLS + 1) * down, (CELLS + 1) * across)
    masks = F.interpolate(grids[:, None], large, mode="bilinear", align_corners=False)[:, 0]
    cut = []
    for mask, (y, x) in zip(masks, shifts.tolist(), strict=True):
        top, left = int(y * down), int(x * across)
        cut.append(mask[top : top + height, left : left + width])
    return torch.stack(cut)


@image_by_image
def occlusion(evidence: Evidence) -> Tensor:
    """Occlusion: how far the score falls when a window over the place is hidden.

    map = the mean of P(X) - P(X with the window hidden) over the windows that cover a pixel. A window is 1 / WINDOWS of
    each side and moves by half its size, from the first pixel until the last pixel is covered; the last window is cut
    at the edge. Zeiler & Fergus, ECCV 2014, arXiv:1311.2901: their window has a fixed size and stride in pixels.
    """
    images, scored = evidence.around.images, evidence.of_probabilities
    rows, columns = (_windows(side).to(images) for side in images.shape[-2:])
    score = scored.score_images(images)
    total, cover = torch.zeros_like(images[0, 0]), torch.zeros_like(images[0, 0])

    def fallen(part: Tensor) -> tuple[Tensor, Tensor]:
        hidden = rows[part // len(columns)][:, :, None] * columns[part % len(columns)][:, None]
        falls = score - scored.score_images(images * (1 - hidden[:, None]))
        return torch.einsum("m,mhw->hw", falls, hidden), hidden.sum(0)

    for falls, hidden in evidence.of_parts(len(rows) * len(columns), fallen):
        total, cover = total + falls, cover + hidden
    return (total / cover)[None]


def _windows(side: int) -> Tensor:
    """Return for each window along a side 1 for the pixels in it, else 0: (windows, side)."""
    window = math.ceil(side / WINDOWS)
    step = math.ceil(window / 2)
    starts = step * torch.arange(math.ceil((side - window) / step) + 1)[:, None]
    pixels = torch.arange(side)
    return ((pixels >= starts) & (pixels < starts + window)).float()


@image_by_image
def random(evidence: Evidence) -> Tensor:
    """Random: noise that does not depend on the class; a method that is not better than noise explains nothing.

    map = one number in 0..1 per cell, independent and uniform. The seed comes from the bits of the image, or of the
    layer if no image is known: different images have different maps, and the same image always has the same map.
    """
    source = evidence.activations if evidence.whole is None else evidence.around.images
    bits = source.float().flatten().view(torch.int32).long()
    total = int((bits * torch.arange(1, len(bits) + 1, device=bits.device)).sum())  # wraps around at 2^63
    # Generators use 32 bits of a seed, and the bits of byte-valued pixels end in zeros: a prime mixes all bits.
    generator = torch.Generator().manual_seed(total % (2**31 - 1))
    return torch.rand(evidence.activations[:, 0].shape, generator=generator).to(evidence.activations)
