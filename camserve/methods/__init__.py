"""Explanation methods: one paper, one function `Evidence -> map (N, h, w)`. torch, graph/ and catalogue/ only.

The registry is catalogue/methods.py, which loads no torch.

    evidence.py         START HERE: what one observation of a model gives a method
    apply.py            from an entry of the registry to its map
    weighted.py         weights that are constant over space
    local.py            weights that differ from place to place
    affinity.py         evidence that similar places share
    decomposition.py    what the feature maps have in common
    stages.py           the network at several depths at once
    ablation.py         parts of the layer removed, and the score that is left
    masking.py          the image seen through masks made of feature maps
    occluding.py        parts of the image hidden; and a random map as baseline
    pixel_gradients.py  gradients with respect to the pixels
    attention.py        which patches the tokens attend to
    watching/           hooks that observe a network while it runs
"""

from camserve.catalogue.method import Method
from camserve.catalogue.methods import AUTO, FAMILIES, METHODS, QUANTITIES, find_method

__all__ = ["AUTO", "FAMILIES", "METHODS", "QUANTITIES", "Method", "find_method"]
