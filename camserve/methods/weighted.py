"""Methods whose weights are constant over space: map = sum_k w_k A_k.

A_k(x, y) is the activation of channel k, g_k = dT/dA_k its gradient, h w the number of cells. The papers apply
a final ReLU; here maps stay signed, and rendering applies it.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from camserve.catalogue.targets import Target
from camserve.errors import OptionError
from camserve.graph.differentiation import steady
from camserve.graph.heads import LinearHead
from camserve.methods.evidence import Evidence
from camserve.methods.watching.attention_weights import Attending

# Smooth Grad-CAM++: noisy copies of the image, and their noise as a share of its range (SmoothGrad: 0.1 to 0.2).
SAMPLES, NOISE = 8, 0.15
# Finer-CAM: how many classes the target is compared with, and how much of each is subtracted (the authors' code).
COMPARED, STRENGTH = 3, 1.0


def cam(evidence: Evidence) -> torch.Tensor:
    """Class activation map: the classifier applied at every place.

    map = sum_k W_ck A_k, W the linear layer's weights; mean(map) + b_c is the logit S_c exactly.
    Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016.
    """
    return _sum_channels(evidence.class_weights, evidence.activations)


def gradcam(evidence: Evidence) -> torch.Tensor:
    """Grad-CAM: how much the score rises with each channel, on average over places.

    w_k = mean_xy g_k. On a GAP + linear head g_k = W_ck / (h w), so the map is CAM / (h w).
    Selvaraju et al., ICCV 2017.
    """
    return _sum_channels(evidence.gradients.mean((2, 3)), evidence.activations)


def gradcam_plus_plus(evidence: Evidence) -> torch.Tensor:
    """Grad-CAM++: several instances of a class count equally, small or large.

    w_k = sum_xy a_k ReLU(g_k), with a_k = g_k^2 / (2 g_k^2 + (sum_xy A_k) g_k^3) = 1 / (2 + g_k sum_xy A_k)
    (eq. 19, for the score exp(T), whose common factor is left out). Where g_k <= 0 the ReLU makes the term 0 and a_k is
    not needed. A denominator can be 0 or negative only in a layer with negative activations; it has no meaning in the
    derivation, and such terms are 0.
    Chattopadhyay et al., WACV 2018.
    """
    positive = evidence.gradients.clamp(min=0)
    denominator = 2 + positive * evidence.activations.sum((2, 3), keepdim=True)
    terms = torch.where(denominator > 0, positive / denominator, 0)
    return _sum_channels(terms.sum((2, 3)), evidence.activations)


def xgradcam(evidence: Evidence) -> torch.Tensor:
    """XGrad-CAM: the gradient averaged over the places where the channel is active.

    w_k = sum_xy g_k A_k / sum_xy A_k. A channel whose activations sum to 0 gets weight 0.
    Fu et al., BMVC 2020.
    """
    total = evidence.activations.sum((2, 3))
    product = (evidence.gradients * evidence.activations).sum((2, 3))
    return _sum_channels(torch.where(total != 0, product / total, 0), evidence.activations)


def smoothgradcam_plus_plus(evidence: Evidence) -> torch.Tensor:
    """Smooth Grad-CAM++: Grad-CAM++ with gradients averaged over noisy copies of the image.

    w_k = sum_xy a_k ReLU(<g_k>), a_k = <g_k^2> / (2 <g_k^2> + (sum_xy A_k) <g_k^3>), <> the mean over SAMPLES copies
    x + NOISE (max x - min x) e, e normal, the same for every image and call. Terms whose denominator is not positive
    are 0, as in Grad-CAM++. The paper's numerator is <g_k>; with <g_k^2>, the method without noise is Grad-CAM++. If
    the gradient is the same for every image, as with a GAP + linear head, nothing is run and this is Grad-CAM++.
    Omeiza et al. 2019, arXiv:1908.01224.
    """
    if isinstance(evidence.head, LinearHead) and _class_index(evidence) is not None:
        return gradcam_plus_plus(evidence)
    moments = [torch.zeros_like(evidence.activations) for _ in range(3)]
    for images in _noisy(evidence):
        gradients = evidence.around.observe(images).gradients
        moments = [moment + gradients**power / SAMPLES for power, moment in enumerate(moments, 1)]
    first, second, third = moments
    denominator = 2 * second + evidence.activations.sum((2, 3), keepdim=True) * third
    terms = torch.where(denominator > 0, second * first.clamp(min=0) / denominator, 0)
    return _sum_channels(terms.sum((2, 3)), evidence.activations)


def shapleycam(evidence: Evidence) -> torch.Tensor:
    """Shapley-CAM: Grad-CAM minus half of what the interaction of the channels adds, as in a Shapley value.

    w_k = mean_xy (g_k - (H A)_k / 2), H the Hessian of the target at A; H A comes from differentiating twice. A class's
    logit S_c is replaced by the paper's ReST, S_c + log softmax(S)_c; other targets are not changed.
    With a GAP + linear head w = W^T (dT/dS - Hess_T (S - b) / 2) / (h w).
    Cai 2025, arXiv:2501.06261. Raises OptionError if the head cannot be differentiated twice.
    """
    index, head, activations = _class_index(evidence), evidence.head, evidence.activations

    def target(logits: Tensor) -> Tensor:
        if index is None:
            return evidence.target(logits)
        return logits[:, index] + torch.log_softmax(logits, 1)[:, index]

    if isinstance(head, LinearHead):
        by_logit = _halved_by_curvature(target, evidence.logits, evidence.logits - head.bias)
        weights = by_logit @ head.weight / activations[0, 0].numel()
    else:
        run = _run_in_the_open(head.module)
        curved = _halved_by_curvature(lambda leaf: target(run(leaf, *evidence.carried)), activations, activations)
        weights = curved.mean((2, 3))
    return _sum_channels(weights, activations)


def finercam(evidence: Evidence) -> torch.Tensor:
    """Finer-CAM: what sets the class apart from the most similar classes, not everything that speaks for it.

    Grad-CAM of T = sum_i p_i (S_n - a S_i) / sum_i p_i, S_n the class's logit, i the COMPARED classes whose logits are
    nearest to it, p their softmax probabilities, a = STRENGTH. p_i / sum p is the softmax over these classes alone, so
    that nothing is divided by 0 if the class itself has all the probability.
    Zhang et al., CVPR 2025, arXiv:2501.11309. Raises OptionError for a target that is not a class, or the only class.
    """
    index = _class_index(evidence, "logit", "contrast")
    if index is None:
        raise OptionError(
            "finercam compares a class with the most similar classes, and this target is not a class; name a class"
        )
    distance = (evidence.logits - evidence.logits[:, index, None]).abs()
    distance[:, index] = torch.inf
    nearest = distance.argsort(dim=1, stable=True)[:, : min(COMPARED, distance.shape[1] - 1)]
    if nearest.shape[1] == 0:
        raise OptionError("finercam compares a class with others, and this model has one class; try 'gradcam'")

    def apart(logits: Tensor) -> Tensor:
        others = logits.gather(1, nearest)
        return logits[:, index] - STRENGTH * (others.softmax(1) * others).sum(1)

    return gradcam(replace(evidence, target=apart))


def _sum_channels(weights: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    """(N, K) and (N, K, h, w) -> (N, h, w)."""
    return torch.bmm(weights[:, None], activations.flatten(2)).view(-1, *activations.shape[2:])


def _class_index(evidence: Evidence, *quantities: str) -> int | None:
    """Return the class whose logit, or one of these quantities, is the target; None for any other target."""
    target = evidence.target
    if not isinstance(target, Target) or not target.has_score:
        return None
    return target.index if target.quantity in (quantities or ("logit",)) else None


def _noisy(evidence: Evidence) -> Iterator[Tensor]:
    """Yield SAMPLES noisy copies of the input. Each image gets the same noise, so that a batch changes nothing."""
    images, generator = evidence.around.images, torch.Generator().manual_seed(0)
    spread = images.amax((1, 2, 3), keepdim=True) - images.amin((1, 2, 3), keepdim=True)
    for sample in range(SAMPLES):
        noise = torch.randn(images.shape[1:], generator=generator).to(images)
        yield images + NOISE * spread * noise
        evidence.report(sample + 1, SAMPLES)


def _halved_by_curvature(function: Callable[[Tensor], Tensor], at: Tensor, along: Tensor) -> Tensor:
    """Return g - H along / 2 for a scalar function of each row, at `at`."""
    with torch.enable_grad():
        leaf = at.detach().clone().requires_grad_()
        (gradients,) = torch.autograd.grad(steady(function(leaf).sum()), leaf, create_graph=True)
        if not gradients.requires_grad:  # linear: no curvature
            return gradients
        try:
            (curved,) = torch.autograd.grad(gradients, leaf, along, materialize_grads=True)
        except RuntimeError as error:
            raise OptionError(
                f"shapleycam needs the head's second derivative, which torch cannot compute: {error}. Try 'gradcam'"
            ) from None
    return gradients.detach() - curved / 2


def _run_in_the_open(module: nn.Module) -> Callable[..., Tensor]:
    """Return `module` without fused attention, because fused attention has no second derivative."""

    def run(*args: Any) -> Tensor:
        with Attending():
            logits: Tensor = module(*args)
        return logits

    return run
