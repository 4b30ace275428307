"""Pixels as arrays, uint8 (H, W, 3): decoded into them, and made of Pillow's images.

pixel_arrays.py  of a Pillow image the array, and the other way round
resampling.py    made smaller or larger, with the bits of torch; resampler.c does it in less time
drafts.py        JPEGs at a fraction of their size, for a network alone
quick_jpeg.py    plain JPEGs straight into an array, by simplejpeg where it is installed
"""
