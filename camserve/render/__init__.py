"""From a map to pictures: colours, outlines, boxes and the numbers of a scale. No torch, no model.

painting.py  heat in colours over a photograph, strip by strip
canvas.py    the picture that is painted: an array and a Pillow image in one memory
native_painter.py  the same painting by compiled code, bit for bit, if it was compiled
overlay.py   the overlay with its lines and boxes, and the heatmap
legend.py    what the colours mean: words and a colour bar
scale.py     which values the first and last colour stand for
regions.py   boxes around hot regions
polygons.py  the outlines of hot regions, holes included
npy.py       arrays as .npy files, whole or in pieces
"""
