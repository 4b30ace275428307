"""Methods that show the network the image through masks made of its feature maps, and weigh each by the score.

X is the network's input, A_k the activation of channel k (of a class map that a ReLU follows, what that lets through),
T(X) the target's score of an image, U a map laid over the input by its cells' true places, H_k =
(U(A_k) - min) / (max - min) in 0..1, min and max over pixels. A masked pixel is 0 in the network's own units, the mean
colour it was trained on. A channel that is constant over the cells masks nothing and is left out: H_k would be 0/0.

Scores are logits, as the papers' formulas have them, unless said otherwise. Whatever is drawn at random comes from a
seed, so that a map can be made again bit for bit.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from camserve.methods.evidence import Evidence, image_by_image

# SS-CAM: how many noises, and their standard deviation where masks are 0..1 (the paper's values).
NOISES, SIGMA = 35, 2.0
# IS-CAM: in how many steps the mask fades in (the paper's value).
STEPS = 10
# Group-CAM: groups of channels, the share of each group's map that is set to 0, and the blur's radius and deviation in
# pixels (the authors' code).
GROUPS, SHARE, RADIUS, BLUR = 32, 0.7, 25, 50.0
# Opti-CAM: steps of Adam and their size (the paper's values).
ITERATIONS, RATE = 100, 0.1


@image_by_image
def scorecam(evidence: Evidence) -> Tensor:
    """Score-CAM: a channel matters as much as the score of the image seen only where the channel fires.

    map = sum_k w_k A_k, w = softmax_k(T(X H_k) - T(0)). T(0), the paper's baseline, cancels in the softmax and is not
    run. Weights are positive: what speaks against the class is not seen, only less of what speaks for it.
    Wang et al., CVPR workshops 2020, algorithm 1; the authors' code leaves out the softmax over channels and takes the
    class's probability.
    """
    images = evidence.around.images
    return _weighted(evidence, lambda masks: evidence.score_images(images * masks))


@image_by_image
def sscam(evidence: Evidence) -> Tensor:
    """SS-CAM: Score-CAM averaged over noise, so that no single mask's edges decide.

    w = softmax_k(mean_i T(X (H_k + e_i))), e_i normal of deviation SIGMA, one a pixel, i = 1 .. NOISES. The same noises
    serve every channel and image, so channels differ by their maps only; the paper draws anew each time.
    Wang et al. 2020, arXiv:2006.14255, its noise on the mask.
    """
    images = evidence.around.images
    shape = (NOISES, 1, *images.shape[-2:])
    noises = SIGMA * torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(images)

    def score(masks: Tensor) -> Tensor:
        return torch.stack([evidence.score_images(images * (masks + noise)) for noise in noises]).mean(0)

    return _weighted(evidence, score, NOISES)


@image_by_image
def iscam(evidence: Evidence) -> Tensor:
    """IS-CAM: Score-CAM averaged along the way from no image to the masked one.

    w = softmax_k(mean_i T(X H_k i / n)), i = 1 .. n, n = STEPS. Published code adds the steps up instead, 0.1, 0.3,
    0.6 and so on to 5.5, which ends far brighter than the image. Naidu et al. 2020, arXiv:2010.03023.
    """
    images = evidence.around.images

    def score(masks: Tensor) -> Tensor:
        shares = [step / STEPS for step in range(1, STEPS + 1)]
        return torch.stack([evidence.score_images(images * masks * share) for share in shares]).mean(0)

    return _weighted(evidence, score, STEPS)


@image_by_image
def groupcam(evidence: Evidence) -> Tensor:
    """Group-CAM: Score-CAM for a few forwards, with channels in groups and a blurred image outside the mask.

    map = sum_l (P(X H_l + B (1 - H_l)) - P(B)) H_l over GROUPS groups l of neighbouring channels; H_l is
    ReLU(sum_k in l mean(g_k) A_k), its lower SHARE set to 0, laid over the input and scaled to 0..1; g_k = dT/dA_k.
    B is X blurred, the kernel cut to small images. P is the target of probabilities, as in the paper. The map stays on
    the layer's grid, where U of it is the paper's sum. Zhang et al. 2021, arXiv:2103.13859.
    """
    images, scored = evidence.around.images, evidence.of_probabilities
    weighted = evidence.gradients.mean((2, 3), keepdim=True) * evidence.activations
    groups = torch.cat([group.sum(1).clamp(min=0) for group in weighted.chunk(GROUPS, 1)])
    floor = groups.flatten(1).quantile(SHARE, 1)[:, None, None]
    groups = _varying(torch.where(groups > floor, groups, 0))
    blurred, total = _blur(images), torch.zeros_like(evidence.activations[:, 0])
    nothing = scored.score_images(blurred)

    def gained(part: Tensor) -> Tensor:
        low, high = _range(evidence.around.spread(groups[part]))
        masks = _scaled(evidence.around.spread(groups[part]), low, high)[:, None]
        gains = scored.score_images(blurred + (images - blurred) * masks) - nothing
        return torch.einsum("m,mhw->hw", gains, _scaled(groups[part], low, high))

    for added in evidence.of_parts(len(groups), gained):
        total = total + added
    return total


@image_by_image
def opticam(evidence: Evidence) -> Tensor:
    """Opti-CAM: of all mixtures of the feature maps, the one through which the image scores highest.

    map = sum_k softmax(u)_k A_k, u raised along the gradient of T(X H(map)) in ITERATIONS steps of Adam from u = 0,
    H(map) the map laid over the input and scaled to 0..1. The authors' code may stop early; here every step is made.
    Zhang et al., CVIU 2024, arXiv:2301.07002.
    """
    images, maps = evidence.around.images, _varying(evidence.fired[0])
    mixture = torch.zeros(len(maps), device=maps.device, requires_grad=True)
    adam = torch.optim.Adam([mixture], RATE, maximize=True)
    for step in range(ITERATIONS if len(maps) else 0):
        with torch.enable_grad():
            mixed = torch.einsum("k,khw->hw", mixture.softmax(0), maps)[None]
            masked = images * _masks(evidence, mixed)
        slopes = evidence.image_gradients(masked.detach())
        (mixture.grad,) = torch.autograd.grad(masked, mixture, slopes)
        adam.step()
        evidence.report(step + 1, ITERATIONS)
    return torch.einsum("k,khw->hw", mixture.detach().softmax(0), maps)[None]


@image_by_image
def polycam(evidence: Evidence) -> Tensor:
    """Poly-CAM: where the class is, from the coarse layers, times where exactly, from ever finer ones.

    map = m_L prod_l m_l / U(D(m_l)) over the stages l < L up to the layer L, on the input's lattice. m_l =
    ReLU(sum_k w_k A_k) of stage l, w_k = ReLU(P(X H_k) + P(X) - P(X (1 - H_k))), P the target of probabilities: what
    the place says alone, and what is lost without it (the variant PCAM+-). U(D(m_l)) is m_l made as coarse as the next
    stage, bilinearly, so that a finer stage only shares out what is there; where it is 0 so is the map. H_k is scaled
    by its extremes, where the authors' code cuts off a thousandth at both ends.
    Englebert et al., ICPR 2022, arXiv:2204.13359.
    """
    *finer, last = evidence.around.stages()
    coarser, grid_map = last, _relevance(last)
    product = last.around.spread(grid_map)
    for stage in reversed(finer):
        grid_map = _relevance(stage)
        down = F.interpolate(grid_map[None], coarser.activations.shape[-2:], mode="bilinear", align_corners=False)[0]
        around, placed = coarser.around.spread(down), stage.around.spread(grid_map)
        product = product * torch.where(around > 0, placed / around, 0)
        coarser = stage
    return product


def _relevance(stage: Evidence) -> Tensor:
    """m_l of one image, (1, h, w)."""
    images, scored, maps = stage.around.images, stage.of_probabilities, _varying(stage.fired[0])
    whole = scored.score_images(images)

    def weighed(part: Tensor) -> Tensor:
        masks = _masks(stage, maps[part])
        return scored.score_images(images * masks) + whole - scored.score_images(images * (1 - masks))

    weights = torch.cat([maps.new_empty(0), *stage.of_parts(len(maps), weighed, 2)])
    return torch.einsum("k,khw->hw", weights.clamp(min=0), maps).clamp(min=0)[None]


def _weighted(evidence: Evidence, score: Callable[[Tensor], Tensor], forwards: int = 1) -> Tensor:
    """sum_k softmax_k(score of H_k) A_k of one image, (1, h, w).

    score: masks (M, 1, H, W) -> (M,), by so many forwards a mask.
    """
    maps = _varying(evidence.fired[0])
    scores = evidence.of_parts(len(maps), lambda part: score(_masks(evidence, maps[part])), forwards)
    weights = torch.cat([maps.new_empty(0), *scores]).softmax(0)
    return torch.einsum("k,khw->hw", weights, maps)[None]


def _varying(maps: Tensor) -> Tensor:
    """Those of maps (M, h, w) that are not constant."""
    low, high = _range(maps)
    return maps[(high > low)[:, 0, 0]]


def _masks(evidence: Evidence, maps: Tensor) -> Tensor:
    """Maps (M, h, w) laid over the input and scaled to 0..1 there: (M, 1, H, W)."""
    placed = evidence.around.spread(maps)
    return _scaled(placed, *_range(placed))[:, None]


def _range(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the largest value of each of maps (M, h, w), (M, 1, 1)."""
    return maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)


def _scaled(maps: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """low -> 0, high -> 1; where nothing lies between them, 0 everywhere: a mask that lets nothing through."""
    return (maps - low) / torch.where(high > low, high - low, 1)


def _blur(images: Tensor) -> Tensor:
    """Images (N, c, H, W) under a Gaussian of deviation BLUR, mirrored at the edges, across and then down."""
    return _blur_rows(_blur_rows(images).mT).mT


def _blur_rows(images: Tensor) -> Tensor:
    radius = min(RADIUS, images.shape[-1] - 1)
    offsets = torch.arange(-radius, radius + 1).to(images)
    kernel = torch.exp(-(offsets**2) / (2 * BLUR**2))
    rows = F.pad(images.flatten(0, 2), (radius, radius), mode="reflect")[:, None]
    return F.conv1d(rows, (kernel / kernel.sum())[None, None]).view_as(images)
