"""How a photograph becomes the input of a network.

framing.py        which part of a photograph becomes the input
channels.py       which channels a network takes, if nobody stated them
preprocessing.py  from a photograph to the network's input
local_photos.py   images that are not uploads, with their own limits
calibration_photos.py  the photographs that a network in 8-bit integers is calibrated on
"""
