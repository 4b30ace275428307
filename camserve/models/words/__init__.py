"""Zero-shot models as classifiers: they compare images with sentences, and each class is a sentence.

worded.py     START HERE: from such a model and sentences to the parts of a classifier
rewording.py  the same network for other sentences
"""
