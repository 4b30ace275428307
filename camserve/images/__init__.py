"""From bytes to upright RGB and back: the only place that opens or saves a picture.

reading.py     START HERE: a photograph from whatever is given; limits, errors, hashes; pictures to encoded bytes
sources.py     a path, bytes or a binary file, to a name and its encoded bytes
signatures.py  what a file is by its first bytes
decoding.py    bytes of a known format to pixels, and what is to be said of how they were read
limits.py      the most pixels, and the errors of more
pixels.py      pixels of every mode, and arrays, to upright RGB
bands.py       all samples of a picture as they are, for networks that take others than RGB
profiles.py    colour profiles to sRGB
windows.py     which value is black and which is white, in pictures of more than 8 bits
tiff.py        which page of a TIFF is its picture, and what it says about its samples
samples.py     the numbers of a TIFF's page, where Pillow cannot unpack them or does so wrongly
extras.py      formats that need a library of their own: what their readers give, and the error without the library
heic.py        HEIC
jpeg_xl.py     JPEG XL
dicom.py       DICOM: its first frame
dicom_greys.py DICOM: which values of a frame are black and white
rare_tiff.py   the numbers of a TIFF's page that tifffile unpacks
coded_sizes.py what size a packed picture inside another file says it has
quiet.py       no words of the C library about a TIFF on standard error
arrays/        pixels as arrays, and plain JPEGs straight into them
png.py         PNG for a service that is waited for
"""
