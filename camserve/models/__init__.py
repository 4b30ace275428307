"""From what a user names to a Classifier: cards, architectures, weights, engines. Knows no explanation.

classifier.py     START HERE: a frozen snapshot of a network with its card, its layers and its labels
parts.py          what a classifier is made of
loading.py        from what a user names to the parts of a model
describing.py     what a user says of a network, as a card
assembling.py     from a card, or a module, to the network with its weights
closed_parts.py   what is explained in closed form, without torch: a model file, a card's network met before
card.py           all that must be known about one model: card.toml
card_files.py     what a card may read: files beside it and of packages; labels and hashes of them
card_input.py     of that, how a picture becomes the network's input
arguments.py      what a network takes besides images, the same for every picture
dense.py          networks that answer for places: where they are looked at, what detectors are given
foreign_code.py   a network is anybody's code, which may raise anything
headless.py       a classifier without its last linear layer, which gives features
labels.py         class names in the order of the logits
output_names.py   which output of a network with several, and the class names of each
snapshot.py       a copy of a user's network that shares nothing with it
layer.py          one layer, ready to be looked at: cut, its head recognised, its cells placed
onnx_export.py    a model as ONNX: the logits, and the class maps beside them
architectures/    networks by name
compiled/         model files of any framework: ONNX, OpenVINO IR, TensorFlow Lite; closed forms without torch
words/            models that compare images with sentences, as classifiers whose classes are these
weights/          files of weights: read, and put into a network
inputs/           how a photograph becomes the input of a network
engines/          who runs the network
inspection/       what a network is made of, costs, and takes
"""
