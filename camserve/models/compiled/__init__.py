"""Model files of any framework, ONNX, OpenVINO IR, TensorFlow Lite and others, without the framework that made them.

of_files.py        START HERE: which files count, and from a file to a network that answers as the file does
model_file.py      a file, read by OpenVINO: its one image input, its outputs, what happens to pixels inside
whole_numbers.py   int8 files that take and give whole numbers
reading_errors.py  why a file cannot be read
held_against.py    whether that answers as the file does
closed.py          one layer whose maps add up to the logits, explained without torch
closed_network.py  that of a card's network, which torch has met
kept_closed.py     the same kept on disk for the next start, which needs no torch
closed_file.py     that of a model file
closed_head.py     whether its maps do add up, read off the graph
file_fields.py     what the cells of a feature map can have seen, read off the graph
translation.py     the graph that OpenVINO read, operation by operation, as a torch.fx graph
values.py          what operations are given and give
layer_ops.py       operations with weights or windows: convolutions, linear layers, pools, normalisation
same_padding.py    padding that depends on the size of a map
element_ops.py     operations on single values: activations, arithmetic, and what int8 networks do
sum_ops.py         sums and means along axes, and what is normalised by them
axis_ops.py        operations that give values other axes
shape_ops.py       operations that move values without computing
size_ops.py        arithmetic of sizes
"""
