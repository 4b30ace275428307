"""Methods whose weights differ from place to place: map = sum_k f(g_k) A_k, cell by cell."""

import torch

from camserve.methods.evidence import Evidence


def hirescam(evidence: Evidence) -> torch.Tensor:
    """HiResCAM: only places that the model really used for this score.

    map = sum_k g_k A_k. Equal to Grad-CAM if the gradient is constant over space, as with a GAP head.
    Draelos & Carin 2020.
    """
    return (evidence.gradients * evidence.activations).sum(1)


def layercam(evidence: Evidence) -> torch.Tensor:
    """LayerCAM: each place is weighted by its own positive gradient, so that maps of early layers are meaningful.

    map = sum_k ReLU(g_k) A_k. Jiang et al., IEEE TIP 2021.
    """
    return (evidence.gradients.clamp(min=0) * evidence.activations).sum(1)


def elementwise(evidence: Evidence) -> torch.Tensor:
    """Element-wise Grad-CAM: at every place only the channels that speak for the class there; no channel cancels them.

    map = sum_k ReLU(g_k A_k). Equal to LayerCAM where A >= 0, as after a ReLU; elsewhere a negative activation with a
    negative gradient also counts. Known from pytorch-grad-cam (Gildenblat 2021); there is no paper.
    """
    return (evidence.gradients * evidence.activations).clamp(min=0).sum(1)
