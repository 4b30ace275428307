"""A traced network rebuilt for a finer picture, with the weights it has.

    convolve_linear(graph, (224, 224))                         fully connected layers as convolutions
    dilate(graph, 8, (224, 224), layer="layer4")               strides as dilation

Both take a graph from `camserve.graph.trace.trace` in eval mode and give a new one over the same parameters. The
given graph, its modules and their parameters stay as they are.

linear.py and tail.py are the first, dilation.py and windows.py the second; layers.py holds the two layers that
torch lacks, walk.py and twin.py what both begin and end with.
"""

from camserve.graph.surgery.dilation import dilate
from camserve.graph.surgery.linear import convolve_linear

__all__ = ["convolve_linear", "dilate"]
