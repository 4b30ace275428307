"""What may be asked, as data: options, targets, questions, methods, colour maps. No torch.

options.py          each option once, with its type, range, default and a line of help
colormaps.py        colour maps by name
class_names.py      the names of classes, and which class a name or an index means
targets.py          what an explanation is about: a class, one class against another, a function of the logits
questions.py        what may be asked about an explanation beyond its map
option_metadata.py  what is known of an option: its words, and what a value may be
head_kinds.py       the kinds of head there are, as people read them
methods.py          the registry: every method, its paper, its formula, what it needs, costs and fails
method.py           what an entry of the registry is made of
"""
