"""Which layer to look at: the last activation on which the answer depends through pooling alone.

search.py      START HERE: the search
places.py      which values have places, and on which grid
placing.py     whether the cells of a value lie where they seem to
separators.py  which values all that the answer knows of the image has gone through
"""
