"""Methods that look at the network at several depths at once."""

import torch

from camserve.methods.evidence import Evidence
from camserve.methods.weighted import gradcam_plus_plus


def refinecam(evidence: Evidence) -> torch.Tensor:
    """Refine-CAM: deep layers say where the class is, and shallow layers say where its edges are.

    map = prod_l m_l / max m_l on the input's lattice, m_l = ReLU of the Grad-CAM++ map at the end of stage l, laid over
    the input with each cell at its true place. If a stage has no positive evidence, the map is 0 everywhere. The stages
    are those up to the layer. The product is not a logit: it only ranks places.
    Domeniconi et al. 2026, arXiv:2605.14641.
    """
    product = torch.ones_like(evidence.around.images[:, 0])
    for stage in evidence.around.stages():
        placed = stage.around.spread(gradcam_plus_plus(stage).clamp(min=0))
        peak = placed.amax((1, 2), keepdim=True)
        product = product * torch.where(peak > 0, placed / peak, 0)
    return product
