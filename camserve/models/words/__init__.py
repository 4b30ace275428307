"""Models that compare images with sentences, as classifiers whose classes are these.

worded.py     START HERE: from such a model, and sentences, to the parts of a classifier
rewording.py  the same network for other sentences
"""
