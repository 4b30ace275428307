"""From the name of a model to a Classifier: cards, architectures, weights, engines. Does not import explanations.

classifier.py     START HERE: a frozen snapshot of a network with its card, its layers and its labels
parts.py          the parts of a classifier
loading.py        from the name of a model to its parts
describing.py     a card from the arguments of load()
assembling.py     from a card, or a module, to the network with its weights
closed_parts.py   classifiers that need no torch: a model file, or the network of a card in the cache
card.py           all that must be known about one model: card.toml
card_files.py     the files that a card may read, in its folder or a package; labels and hashes of files
card_input.py     the [input] of a card: how a picture becomes the input of the network
arguments.py      inputs of a network besides images, the same for every picture
dense.py          segmentation networks and detectors: which layer to explain, and the input of detectors
foreign_code.py   guards against the code of networks, which may raise any error
headless.py       a classifier without its last linear layer, which gives features
labels.py         class names in the order of the logits
output_names.py   which output to explain if a network has several, and the class names of each
snapshot.py       a copy of a user's network that shares nothing with it
layer.py          one layer, prepared for explanations: cut, its head recognised, its cells placed
onnx_export.py    a model as ONNX: the logits, and the class maps beside them
architectures/    networks by name
compiled/         model files of any framework: ONNX, OpenVINO IR, TensorFlow Lite; closed forms without torch
words/            zero-shot models as classifiers: each class is a sentence
weights/          files of weights: read, and put into a network
inputs/           how a photograph becomes the input of a network
engines/          the engines that run a network
inspection/       the blocks, the costs and the input sizes of a network
"""
