"""What a user names to a Classifier: cards, architectures, weights, engines. Knows no explanation.

classifier.py     START HERE: a frozen snapshot of a network with its card, its layers and its labels
loading.py        from a card, an architecture with weights, or a module
card.py           all that must be known about one model: card.toml
card_input.py     of that, how a picture becomes the network's input
arguments.py      what a network takes besides images, the same for every picture
channels.py       which channels a network takes, where nobody has said so
checkpoints.py    the tensors of a weights file, by name
pickled.py        what torch.save wrote, read without running anything in it
state_dicts.py    whether weights fit a network
own_heads.py      heads that users put in place of an architecture's own
labels.py         class names in the order of the logits
output_names.py   which output of a network with several, and the class names of each
snapshot.py       a copy of a user's network that shares nothing with it
layer.py          one layer, ready to be looked at: cut, its head recognised, its cells placed
preprocessing.py  from a photograph to the network's input
onnx_export.py    a model as ONNX: the logits, and the class maps beside them
architectures/    networks by name
engines/          who runs the network
inspection/       what a network is made of, costs, and takes
"""
