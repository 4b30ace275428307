"""Methods whose weights are constant over space: map = sum_k w_k A_k.

A_k(x, y) is the activation of channel k, g_k = dT/dA_k its gradient, h w the number of cells. The papers apply
a final ReLU; here maps stay signed, and rendering applies it.
"""

import torch

from camserve.methods.evidence import Evidence


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
    """Grad-CAM++: several instances of a class count alike, however large each is.

    w_k = sum_xy a_k ReLU(g_k), with a_k = g_k^2 / (2 g_k^2 + (sum_xy A_k) g_k^3) = 1 / (2 + g_k sum_xy A_k)
    (eq. 19, for the score exp(T), whose common factor is left out). Where g_k <= 0 the ReLU makes the term 0
    and a_k is not needed. A denominator that is not positive, which takes a layer with negative activations,
    has no meaning in the derivation: such terms count 0.
    Chattopadhyay et al., WACV 2018.
    """
    positive = evidence.gradients.clamp(min=0)
    denominator = 2 + positive * evidence.activations.sum((2, 3), keepdim=True)
    terms = torch.where(denominator > 0, positive / denominator, 0)
    return _sum_channels(terms.sum((2, 3)), evidence.activations)


def xgradcam(evidence: Evidence) -> torch.Tensor:
    """XGrad-CAM: the gradient averaged where the channel is active.

    w_k = sum_xy g_k A_k / sum_xy A_k. A channel whose activations sum to 0 gets weight 0: it adds nothing.
    Fu et al., BMVC 2020.
    """
    total = evidence.activations.sum((2, 3))
    product = (evidence.gradients * evidence.activations).sum((2, 3))
    return _sum_channels(torch.where(total != 0, product / total, 0), evidence.activations)


def _sum_channels(weights: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    """(N, K) and (N, K, h, w) -> (N, h, w)."""
    return torch.einsum("nk,nkhw->nhw", weights, activations)
