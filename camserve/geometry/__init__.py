"""Coordinates: frames, placements and the arithmetic of receptive fields.

cells.py            where the cells of a layer lie at any size of the input
evaluation.py       how other libraries make a network's input, to the pixel
frame.py            photograph, network input and layer grid, both ways
laid.py             a map laid over a photograph, row by row or as the lines between which rows lie
interpolation.py    linear, between samples one step apart: what lays maps over pixels
smoothing.py        a map with more cells, for drawing it without corners
receptive_field.py  which pixels of the input the cells of a grid can have seen
"""
