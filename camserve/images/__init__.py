"""From bytes to upright RGB and back: the only place that opens or saves a picture.

reading.py     START HERE: read a photograph from any source: limits, errors, hashes; encode pictures
sources.py     a path, bytes or a binary file to a name and the encoded bytes
signatures.py  the kind of a file, from its first bytes
decoding.py    bytes of a known format to pixels, with notes about how they were read
limits.py      the largest allowed size, and the errors for larger pictures
pixels.py      pixels of every mode, and arrays, to upright RGB
bands.py       all samples of a picture unchanged, for networks whose input is not RGB
profiles.py    colour profiles to sRGB
windows.py     which value is black and which is white, in pictures of more than 8 bits
tiff.py        which page of a TIFF is its picture, and what the file says about the samples
samples.py     the numbers of a TIFF page that Pillow cannot unpack or unpacks wrongly
extras.py      formats that need an extra library: what their readers return, and the error without the library
heic.py        HEIC
jpeg_xl.py     JPEG XL
dicom.py       DICOM: its first frame
dicom_greys.py DICOM: which values of a frame are black and white
rare_tiff.py   the numbers of a TIFF page that tifffile unpacks
coded_sizes.py the size that a compressed picture inside another file declares
quiet.py       silences the messages of libtiff on standard error
arrays/        pixels as arrays, and plain JPEGs decoded into arrays
png.py         fast PNG for the service
"""
