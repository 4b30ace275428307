"""Pixels as arrays, uint8 (H, W, 3).

pixel_arrays.py  Pillow images to arrays, and back
resampling.py    resizes arrays with the same bits as torch; resampler.c is the fast version
drafts.py        JPEGs decoded at a fraction of their size, for a network
quick_jpeg.py    plain JPEGs decoded into an array by simplejpeg, if it is installed
"""
