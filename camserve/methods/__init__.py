"""Explanation methods: one paper, one function `Evidence -> map (N, h, w)`. torch, graph/ and catalogue/ only.

The registry is catalogue/methods.py, which loads no torch.

    evidence.py         START HERE: what one observation of a model gives a method
    apply.py            from an entry of the registry to its map
    weighted.py         weights that are constant over space
    local.py            weights that differ from place to place
    affinity.py         evidence shared among places that look alike to the layer
    decomposition.py    what the feature maps have in common
    stages.py           the network at several depths at once
    ablation.py         the layer changed, and the head asked what is left of the score
    masking.py          the image seen through masks made of feature maps
    occluding.py        parts of the image hidden; and chance, which all are measured against
    pixel_gradients.py  gradients followed back to the pixels
    attention.py        which patches the tokens that are read out have attended to
    watching/           a network watched while it runs
"""

from camserve.catalogue.method import Method
from camserve.catalogue.methods import AUTO, FAMILIES, METHODS, QUANTITIES, find_method

__all__ = ["AUTO", "FAMILIES", "METHODS", "QUANTITIES", "Method", "find_method"]
