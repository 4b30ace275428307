"""Model files of any framework, ONNX, OpenVINO IR, TensorFlow Lite and others, without the framework that made them.

of_files.py        START HERE: which files are model files, and from a file to a network with the same answers
model_file.py      a file, read by OpenVINO: its one image input, its outputs, its preprocessing of pixels
whole_numbers.py   int8 files whose inputs and outputs are whole numbers
reading_errors.py  why a file cannot be read
held_against.py    compares the network with its file: do both give the same answers?
closed.py          one layer whose maps add up to the logits, explained without torch
closed_network.py  the closed form of a card's network, which needs torch once
kept_closed.py     a cache on disk of this closed form; with it, the next start needs no torch
closed_file.py     the closed form of a model file
closed_head.py     whether the maps add up to the logits, read from the graph
file_fields.py     the receptive field of a feature map, read from the graph
translation.py     OpenVINO's graph as a torch.fx graph, operation by operation
values.py          inputs and outputs of operations
layer_ops.py       operations with weights or windows: convolutions, linear layers, pools, normalisation
same_padding.py    padding that depends on the size of a map
element_ops.py     operations on single values: activations, arithmetic, and those of int8 networks
sum_ops.py         sums and means along axes, and normalisations
axis_ops.py        operations that change axes
shape_ops.py       operations that move values without computing
size_ops.py        arithmetic of sizes
"""
