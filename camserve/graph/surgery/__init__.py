"""Rebuild a traced network for a finer map, with the same weights. The given graph does not change.

convolve_linear(graph, (224, 224))                         fully connected layers become convolutions
dilate(graph, 8, (224, 224), layer="layer4")               strides become dilation

linear.py        fully connected layers as convolutions
tail.py          the end of a network that flattens its map: recognised, or refused with a reason
dilation.py      stride to dilation: a denser map of the same features
lattice.py       how much denser each tensor becomes, and the change that each layer needs
kernels.py       convolutions, poolings and paddings for a denser lattice
pools.py         poolings on a denser lattice
replacements.py  the layers that torch does not have
dry_run.py       runs a network once on an empty image and records arguments and results of each node
twin.py          a second graph with the same modules, and changes to it
"""
