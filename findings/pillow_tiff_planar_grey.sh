#!/bin/sh
# In an uncompressed TIFF of one channel, PlanarConfiguration = 2 means nothing: TIFF 6.0 calls the tag irrelevant
# where SamplesPerPixel is 1. Pillow then takes white for black in 8 bits and reads 4 bits as 8.
# The good guess that this refutes: "the tag is irrelevant with one channel, and 8-bit greys are safe with Pillow".
# Ends with 0 while the behaviour is as described, with 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 tifffile==2026.3.3 "numpy>=2,<3"
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import struct
import sys

import numpy as np
import PIL
import tifffile
from PIL import Image

print(f"Pillow {PIL.__version__}, tifffile {tifffile.__version__}")


def tiff(bits, photometric, planar, data, size):
    """A little-endian TIFF of one strip."""
    tags = {256: size[0], 257: size[1], 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: size[1]}
    tags |= {279: len(data), 284: planar}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def read(bits, photometric, planar, data, size):
    path = f"{sys.argv[1]}/a.tif"
    with open(path, "wb") as file:
        file.write(tiff(bits, photometric, planar, data, size))
    if bits == 8:
        assert tifffile.imread(path).tobytes() == data
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


changed = False
for name, case in {
    "8 bits, WhiteIsZero": (8, 0, bytes(range(0, 240, 10)), (6, 4)),
    "4 bits, BlackIsZero": (4, 1, bytes([0x01, 0x23, 0x45, 0x67] * 4), (8, 4)),
}.items():
    bits, photometric, data, size = case
    chunky, planar = (read(bits, photometric, value, data, size) for value in (1, 2))
    print(f"{name}: PlanarConfiguration 1 {chunky[0][:6].tolist()}, 2 {planar[0][:6].tolist()}")
    changed |= np.array_equal(chunky, planar)
sys.exit(changed)
PYTHON
