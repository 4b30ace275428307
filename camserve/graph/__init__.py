"""From a module to body and head: traced, hooked or a black box. torch only; no card, setting or image.

network.py           START HERE: what is asked of a network: its layers, and its two halves at one of them
traced.py            a network whose graph torch.fx gives
hooked.py            a network that torch.fx cannot trace
trace.py             a model as a graph, every layer kept whole
given_graph.py       the graph of a network as it was given, and a way to watch what its nodes give
cut.py               a graph cut in two at a layer: body and head
tokens.py            a graph whose tokens stand as feature maps, so that it can be cut there
layout.py            where the places are in a tensor, and the same tensor as feature maps
heads.py             the five kinds of head, and the gradients of logits at the layer
head_recognition.py  what kind of head a cut model has, read off its graph
cosine_head.py       a head of cosines, and its class maps with the length of the feature held fixed
cosine.py            whether a head is one of cosines, found by what it answers
linearity.py         what kind of head it is, found by what it answers
differentiation.py   gradients of any network, those that write in place included
devices.py           where a network computes, and something to feed it there
original/            the network as it was given, and whether what was made of it is still that network
layer_search/        which layer to look at, in any network
receptive/           the receptive field of every layer of a traced network
surgery/             a traced network rebuilt for a finer picture
"""
