"""Evidence is shared among places that look alike to the layer: each place keeps a part, and the sum stays the same.

A network counts the parts of an object that tell its class apart: a head more than a flank. But head and flank activate
similar channels, and places that activate the same channels mostly belong to the same object.
"""

import torch
from torch import Tensor

from camserve.catalogue.method import Method
from camserve.methods.apply import apply
from camserve.methods.evidence import Evidence
from camserve.methods.weighted import cam

# How often evidence is shared. On photographs with boxes, twice was better than once on large grids and not worse on
# 7 x 7 cells; three times was worse on 7 x 7 cells.
ROUNDS = 2


def affinitycam(evidence: Evidence) -> Tensor:
    """Affinity CAM: the class activation map, shared among places where the same channels are active.

    map = P P CAM, P_uv = sum_k a_k(u) a_k(v) / sum_w a_k(w), a_k = ReLU(A_k) / sum_j ReLU(A_j) at each place. P is
    symmetric and each of its rows sums to 1, so that mean(map) + b_c is the logit S_c exactly, as for CAM.
    Wang et al., CVPR 2020, arXiv:2004.04581: their pixel correlation module refines a CAM in this way, with cosines of
    features trained for it, divided by the sum of each row. Here the features are the layer's own, and P comes from an
    anchor graph whose anchors are the channels (Liu, He & Chang, ICML 2010). This P keeps the sum.
    Raises OptionError if the head has no class map.
    """
    return share(cam(evidence), evidence.activations)


def share(maps: Tensor, activations: Tensor) -> Tensor:
    """Return P P maps, (N, h, w), without building P: the cost grows with the number of cells, not with its square.

    maps: (N, h, w). activations: (N, K, h, w). Each channel takes the mean of the map over the places where it is
    active, and each place takes the mean over its active channels. A place without an active channel keeps its value.
    """
    fires = activations.clamp(min=0).flatten(2)
    total = fires.sum(1, keepdim=True)
    shares = fires / torch.where(total > 0, total, 1)
    of_channel = shares.sum(2)[:, None]
    shared = maps.flatten(1)[:, None]
    for _ in range(ROUNDS):
        weights = shared @ shares.mT / torch.where(of_channel > 0, of_channel, 1)
        shared = torch.where(total > 0, weights @ shares, shared)
    return shared.view_as(maps)


def apply_shared(method: Method, evidence: Evidence) -> Tensor:
    """Return the map of any method, (N, h, w), shared; unchanged if it is not on the layer's grid or already shared."""
    grid_map, is_shared = apply(method, evidence), method.function == f"affinity.{affinitycam.__name__}"
    if is_shared or not method.at_layer or method.lattice != "layer":
        return grid_map
    return share(grid_map, evidence.activations)
