"""Methods that show what the feature maps have in common, not what the class needs. Only eigengradcam uses gradients.

A is a table of h w places by K channels. The sign of a principal component is arbitrary; here the map rises with the
sum over channels, so that active places are positive. If a ReLU comes next, as after the class map of SqueezeNet, A is
taken after the ReLU: otherwise most of the sum would be values that the network never uses.
"""

import torch
from torch import Tensor

from camserve.errors import OptionError
from camserve.methods.evidence import Evidence

# The kernel matrix has (h w)^2 entries, and its eigenvectors cost (h w)^3: seconds at 48 x 48 cells, minutes for more.
MOST_CELLS = 48 * 48


def eigencam(evidence: Evidence) -> Tensor:
    """Eigen-CAM: the pattern that explains most of how the channels vary over places; the class does not matter.

    map = X v_1, X = A - mean_xy A as a table (h w, K), v_1 its first right singular vector; it rises with sum_k A_k.
    Muhammad & Yeasin, IJCNN 2020. The paper's table is not centred: v_1 is then little more than the channels' mean.
    """
    return _first_component(evidence.fired)


def eigengradcam(evidence: Evidence) -> Tensor:
    """EigenGrad-CAM: Eigen-CAM of what each channel adds to the score, which makes it about the class.

    map = X v_1, X = gA - mean_xy gA as a table (h w, K), v_1 its first right singular vector; the map rises with
    sum_k g_k A_k. Known from pytorch-grad-cam (Gildenblat 2021) after Muhammad & Yeasin, IJCNN 2020.
    """
    return _first_component(evidence.gradients * evidence.activations)


def kpcacam(evidence: Evidence) -> Tensor:
    """KPCA-CAM: Eigen-CAM for patterns that are not straight lines in the space of the channels.

    map = sqrt(l_1) u_1, l_1 and u_1 the largest eigenvalue and its vector of the centred kernel matrix
    J tanh(X X^T / K + 1) J, J = I - 1/(h w); X as in Eigen-CAM; 0 if l_1 <= 0, because this kernel need not be
    positive. Karmani et al. 2024, arXiv:2410.00267, with the sigmoid kernel, gamma = 1/K, of the authors' code.
    Raises OptionError for more than 48 x 48 cells.
    """
    rows = _centred_rows(evidence.fired)
    if rows.shape[1] > MOST_CELLS:
        height, width = evidence.activations.shape[-2:]
        raise OptionError(
            f"kpcacam compares every cell with every other cell and takes at most {MOST_CELLS} cells; this layer has "
            f"{width} x {height}. Try a later layer, a smaller size, or 'eigencam'"
        )
    kernel = torch.tanh(rows @ rows.mT / rows.shape[2] + 1)
    centred = kernel - kernel.mean(1, keepdim=True) - kernel.mean(2, keepdim=True) + kernel.mean((1, 2), keepdim=True)
    values, vectors = torch.linalg.eigh(centred)
    component = vectors[:, :, -1] * values[:, -1:].clamp(min=0).sqrt()
    return _rising_with_sum(component, evidence.fired)


def fem(evidence: Evidence) -> Tensor:
    """FEM: places where channels are far more active than usual, weighted by each channel's mean activation.

    map = sum_k mean(A_k) [A_k > mean(A_k) + 2 std(A_k)], std over the h w places, not h w - 1. A constant channel adds
    exactly 0 in spite of rounding. Among five values none can lie two deviations above their mean, so a grid needs six
    cells. Fuad et al., IPTA 2020.
    """
    a = evidence.fired
    mean, deviation = a.mean((2, 3), keepdim=True), a.std((2, 3), correction=0, keepdim=True)
    varies = a.amax((2, 3), keepdim=True) > a.amin((2, 3), keepdim=True)
    return (mean * (varies & (a > mean + 2 * deviation))).sum(1)


def _first_component(maps: Tensor) -> Tensor:
    """Project (N, K, h, w) on the first principal component: (N, h, w)."""
    rows = _centred_rows(maps)
    _, _, directions = torch.linalg.svd(rows, full_matrices=False)
    return _rising_with_sum((rows @ directions[:, :1].mT).squeeze(2), maps)


def _centred_rows(maps: Tensor) -> Tensor:
    """(N, K, h, w) -> (N, h w, K), with every channel's mean subtracted."""
    rows = maps.flatten(2).mT
    return rows - rows.mean(1, keepdim=True)


def _rising_with_sum(component: Tensor, maps: Tensor) -> Tensor:
    """Give a component (N, h w) the sign that agrees with the sum over channels; returns (N, h, w)."""
    total = maps.sum(1).flatten(1)
    agreement = (component * (total - total.mean(1, keepdim=True))).sum(1, keepdim=True)
    return torch.where(agreement < 0, -component, component).reshape(maps[:, 0].shape)
