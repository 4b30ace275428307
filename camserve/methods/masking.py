"""Methods that mask the image with its feature maps, run the network, and weight each feature map by the score.

X is the network's input, A_k the activation of channel k (after the ReLU, if a ReLU follows a class map), T(X) the
target's score of an image, U a map laid over the input with each cell at its true place, H_k =
(U(A_k) - min) / (max - min) in 0..1, min and max over pixels. A masked pixel is 0 in the network's own units, the mean
colour of its training images. A channel that is constant over the cells is left out: its H_k would be 0/0.

Scores are logits, as in the papers' formulas, unless stated otherwise. Random numbers come from a fixed seed, so that a
map can be made again bit for bit.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from camserve.methods.evidence import Evidence, image_by_image

# SS-CAM: the number of noise samples, and their standard deviation for masks of 0..1 (the paper's values).
NOISES, SIGMA = 35, 2.0
# IS-CAM: the number of steps in which the mask fades in (the paper's value).
STEPS = 10
# Group-CAM: groups of channels, the share of each group's map that is set to 0, and the blur's radius and deviation in
# pixels (the authors' code).
GROUPS, SHARE, RADIUS, BLUR = 32, 0.7, 25, 50.0
# Opti-CAM: steps of Adam and their size (the paper's values).
ITERATIONS, RATE = 100, 0.1


@image_by_image
def scorecam(evidence: Evidence) -> Tensor:
    """Score-CAM: a channel matters as much as the score of the image seen only where the channel is active.

    map = sum_k w_k A_k, w = softmax_k(T(X H_k) - T(0)). T(0), the paper's baseline, cancels in the softmax and is not
    run. Weights are positive, so the map does not show what speaks against the class. Wang et al., CVPR workshops 2020,
    algorithm 1; the authors' code leaves out the softmax over channels and takes the class's probability.
    """
    images = evidence.around.images
    return _weighted(evidence, lambda masks: evidence.score_images(images * masks))


@image_by_image
def sscam(evidence: Evidence) -> Tensor:
    """SS-CAM: Score-CAM averaged over noise, so that the edges of a single mask do not decide.

    w = softmax_k(mean_i T(X (H_k + e_i))), e_i normal with deviation SIGMA, one number per pixel, i = 1 .. NOISES.
    Every channel and image gets the same noise, so that channels differ only by their maps; the paper draws new noise
    each time. Wang et al. 2020, arXiv:2006.14255, the variant with noise on the mask.
    """
    images = evidence.around.images
    shape = (NOISES, 1, *images.shape[-2:])
    noises = SIGMA * torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(images)

    def score(masks: Tensor) -> Tensor:
        return torch.stack([evidence.score_images(images * (masks + noise)) for noise in noises]).mean(0)

    return _weighted(evidence, score, NOISES)


@image_by_image
def iscam(evidence: Evidence) -> Tensor:
    """IS-CAM: Score-CAM averaged over the path from an empty image (0 everywhere) to the masked image.

    w = softmax_k(mean_i T(X H_k i / n)), i = 1 .. n, n = STEPS. Published code adds the steps up instead (0.1, 0.3, 0.6
    and so on to 5.5), so that its last image is far brighter than X. Naidu et al. 2020, arXiv:2010.03023.
    """
    images = evidence.around.images

    def score(masks: Tensor) -> Tensor:
        shares = [step / STEPS for step in range(1, STEPS + 1)]
        return torch.stack([evidence.score_images(images * masks * share) for share in shares]).mean(0)

    return _weighted(evidence, score, STEPS)


@image_by_image
def groupcam(evidence: Evidence) -> Tensor:
    """Group-CAM: Score-CAM with few forward passes: channels form groups, and the image is blurred outside the mask.

    map = sum_l (P(X H_l + B (1 - H_l)) - P(B)) H_l over GROUPS groups l of neighbouring channels; H_l is
    ReLU(sum_k in l mean(g_k) A_k), its lower SHARE set to 0, laid over the input and scaled to 0..1; g_k = dT/dA_k.
    B is X blurred; for small images the kernel is cut. P is the target of probabilities, as in the paper. The map stays
    on the layer's grid; laid over the input, it is the paper's sum. Zhang et al. 2021, arXiv:2103.13859.
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
    """Opti-CAM: the mixture of the feature maps that, as a mask, gives the image the highest score.

    map = sum_k softmax(u)_k A_k. ITERATIONS steps of Adam from u = 0 raise T(X H(map)); H(map) is the map laid over the
    input and scaled to 0..1. The authors' code may stop early; here all steps are run.
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
    """Poly-CAM: coarse layers say where the class is, and finer layers say where exactly.

    map = m_L prod_l m_l / U(D(m_l)) over the stages l < L up to the layer L, on the input's lattice. m_l =
    ReLU(sum_k w_k A_k) of stage l, w_k = ReLU(P(X H_k) + P(X) - P(X (1 - H_k))), P the target of probabilities: the
    score of the place alone, and the loss without it (the variant PCAM+-). U(D(m_l)) is m_l made as coarse as the next
    stage, bilinearly, so that a finer stage only divides the evidence of a coarse one; where it is 0, the map is 0.
    H_k is scaled by its extremes; the authors' code cuts off a thousandth at both ends.
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
    """Return m_l of one image, (1, h, w)."""
    images, scored, maps = stage.around.images, stage.of_probabilities, _varying(stage.fired[0])
    whole = scored.score_images(images)

    def weighed(part: Tensor) -> Tensor:
        masks = _masks(stage, maps[part])
        return scored.score_images(images * masks) + whole - scored.score_images(images * (1 - masks))

    weights = torch.cat([maps.new_empty(0), *stage.of_parts(len(maps), weighed, 2)])
    return torch.einsum("k,khw->hw", weights.clamp(min=0), maps).clamp(min=0)[None]


def _weighted(evidence: Evidence, score: Callable[[Tensor], Tensor], forwards: int = 1) -> Tensor:
    """Return sum_k softmax_k(score of H_k) A_k of one image, (1, h, w).

    score: masks (M, 1, H, W) -> (M,). forwards: forward passes for each mask.
    """
    maps = _varying(evidence.fired[0])
    scores = evidence.of_parts(len(maps), lambda part: score(_masks(evidence, maps[part])), forwards)
    weights = torch.cat([maps.new_empty(0), *scores]).softmax(0)
    return torch.einsum("k,khw->hw", weights, maps)[None]


def _varying(maps: Tensor) -> Tensor:
    """Return the maps of (M, h, w) that are not constant."""
    low, high = _range(maps)
    return maps[(high > low)[:, 0, 0]]


def _masks(evidence: Evidence, maps: Tensor) -> Tensor:
    """Lay maps (M, h, w) over the input and scale them to 0..1 there: (M, 1, H, W)."""
    placed = evidence.around.spread(maps)
    return _scaled(placed, *_range(placed))[:, None]


def _range(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smallest and the largest value of each map of (M, h, w), as (M, 1, 1)."""
    return maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)


def _scaled(maps: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Scale low to 0 and high to 1. If low equals high, the mask is 0 everywhere: it lets nothing through."""
    return (maps - low) / torch.where(high > low, high - low, 1)


def _blur(images: Tensor) -> Tensor:
    """Blur images (N, c, H, W) with a Gaussian of deviation BLUR, mirrored at the edges, across and then down."""
    return _blur_rows(_blur_rows(images).mT).mT


def _blur_rows(images: Tensor) -> Tensor:
    radius = min(RADIUS, images.shape[-1] - 1)
    offsets = torch.arange(-radius, radius + 1).to(images)
    kernel = torch.exp(-(offsets**2) / (2 * BLUR**2))
    rows = F.pad(images.flatten(0, 2), (radius, radius), mode="reflect")[:, None]
    return F.conv1d(rows, (kernel / kernel.sum())[None, None]).view_as(images)
