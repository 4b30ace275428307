"""Evidence shared among places that look alike to the layer: each keeps a part, the sum stays what it was.

Of an object the network counts what tells its class apart, a head more than a flank. Both fire much the same channels
all the same, and what fires the same channels is most often the same object.
"""

import torch
from torch import Tensor

from camserve.catalogue.method import Method
from camserve.methods.apply import apply
from camserve.methods.evidence import Evidence
from camserve.methods.weighted import cam

# How often evidence is shared. On photographs with boxes twice is better than once on large grids, and no worse on
# 7 x 7 cells; three times is worse there.
ROUNDS = 2


def affinitycam(evidence: Evidence) -> Tensor:
    """Affinity CAM: the class activation map, shared among the places where the same channels fire.

    map = P P CAM, P_uv = sum_k a_k(u) a_k(v) / sum_w a_k(w), a_k = ReLU(A_k) / sum_j ReLU(A_j) at each place. P is
    symmetric and each of its rows sums to 1, so that mean(map) + b_c is the logit S_c exactly, as it is of CAM.
    Wang et al., CVPR 2020, arXiv:2004.04581, whose pixel correlation module so refines a CAM, by cosines of features
    that are trained for it, over the sum of each row. Here the features are the layer's own, and P is that of an
    anchor graph with the channels as its anchors (Liu, He & Chang, ICML 2010), which keeps the sum.
    Raises OptionError where the head has no class map.
    """
    return share(cam(evidence), evidence.activations)


def share(maps: Tensor, activations: Tensor) -> Tensor:
    """P P maps, (N, h, w), without P itself: its cost grows with the cells, not with their square.

    maps: (N, h, w). activations: (N, K, h, w). Each channel takes the mean of the map over the places where it fires,
    and each place the mean of its channels. A place where none fires keeps what it has.
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
    """The map of any method, (N, h, w), shared; as it is, where it is no map of the layer or was shared before."""
    grid_map, is_shared = apply(method, evidence), method.function == f"affinity.{affinitycam.__name__}"
    if is_shared or not method.at_layer or method.lattice != "layer":
        return grid_map
    return share(grid_map, evidence.activations)
