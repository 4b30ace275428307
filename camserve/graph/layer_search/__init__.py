"""Find the layer to explain: the last activation after which only pooling comes before the answer.

search.py      START HERE: the search
places.py      which values have places, and on which grid
placing.py     check that the cells of a value lie where they seem to lie
separators.py  the values that every path from the image to the answer goes through
"""
