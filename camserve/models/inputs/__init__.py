"""How a photograph becomes the input of a network.

framing.py        which part of a photograph becomes the input
channels.py       which channels a network takes, where nobody has said so
preprocessing.py  from a photograph to the network's input
local_photos.py   images that are no upload, within their limits
calibration_photos.py  the photographs that a network in 8-bit integers is calibrated on
"""
