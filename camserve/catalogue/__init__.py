"""What users may ask, as data: options, targets, questions, methods, colour maps. No torch.

options.py          each option once, with its type, range, default and a line of help
colormaps.py        colour maps by name
class_names.py      the names of classes, and which class a name or an index means
class_sentences.py  sentences as classes, as doors take them
targets.py          what an explanation is about: a class, one class against another, a function of the logits
questions.py        what may be asked about an explanation beyond its map
numbers.py          numbers of Python, NumPy and torch made Python's own, and held against a range
option_metadata.py  what is known of an option: its words, and what a value may be
head_kinds.py       the kinds of head there are, as people read them
methods.py          the registry: every method, its paper, its formula, what it needs, costs and fails
run_files.py        what the files and folders of a batch's run are called
method.py           what an entry of the registry is made of
metrics.py          the registry of metrics: what each tests, needs, costs, and what it cannot tell
metric.py           what an entry of the registry of metrics is made of
"""
