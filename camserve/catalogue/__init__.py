"""What users may ask, as data: options, targets, questions, methods, colour maps. No torch.

options.py          each option once, with its type, range, default and a line of help
colormaps.py        colour maps by name
class_names.py      the names of classes, and which class a name or an index means
class_sentences.py  sentences as classes: reads and checks them
targets.py          what an explanation is about: a class, one class against another, a function of the logits
questions.py        what users may ask about an explanation beyond its map
numbers.py          converts numbers of NumPy and torch to Python numbers, and checks their range
option_metadata.py  the metadata of an option: its help, its type, its allowed values
head_kinds.py       the kinds of head, by the names that people read
methods.py          the registry of methods: paper, formula, needs, cost and failings of each
run_files.py        the names of the files and folders of a batch run
method.py           the fields of an entry of the registry of methods
metrics.py          the registry of metrics: what each one tests, needs and costs, and what it cannot tell
metric.py           the fields of an entry of the registry of metrics
"""
