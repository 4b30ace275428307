"""A traced network rebuilt for a finer picture, with the weights it has; the given graph stays as it is.

convolve_linear(graph, (224, 224))                         fully connected layers as convolutions
dilate(graph, 8, (224, 224), layer="layer4")               strides as dilation

linear.py        fully connected layers as convolutions
tail.py          the end of a network that flattens: recognised, or refused with the reason
dilation.py      stride to dilation: a denser map of the same features
lattice.py       how much denser each tensor becomes, and what that asks of each layer
kernels.py       a convolution, pooling or padding put onto a denser lattice
pools.py         poolings on a denser lattice
replacements.py  the two layers that torch lacks
dry_run.py       a network run once on an empty image: what each node was told and gave
twin.py          a second graph over the same modules, and the changes made to it
"""
