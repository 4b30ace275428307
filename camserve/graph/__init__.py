"""From a module to body and head: traced, hooked or a black box. torch only; no card, setting or image.

network.py           START HERE: the interface of a network: its layers, and its two halves at a layer
traced.py            a network that torch.fx can trace
hooked.py            a network that torch.fx cannot trace
trace.py             a model as a graph; every layer stays whole
given_graph.py       the graph of the user's network, and a way to watch the values of its nodes
cut.py               a graph cut in two at a layer: body and head
tokens.py            a graph that turns tokens into feature maps, so that it can be cut there
layout.py            which axes of a tensor are places; conversion to feature maps and back
heads.py             the five kinds of head, and the gradients of logits at the layer
head_recognition.py  find the kind of a head from its graph
cosine_head.py       a head of cosines, and its class maps with the length of the feature held fixed
cosine.py            find out from its answers whether a head is one of cosines
linearity.py         find the kind of a head from its answers
differentiation.py   gradients of any network, also of networks that write in place
devices.py           the device of a network, and test images on it
original/            the user's network, and whether a network that was made from it still answers the same
layer_search/        find the layer to explain, in any network
receptive/           the receptive field of every layer of a traced network
surgery/             rebuild a traced network for a finer map
"""
