#!/bin/sh
# Pillow reads valid TIFFs of more than 8 bits wrongly, without an error or a warning.
# Every file is written and read back exactly by tifffile. The good guess that this refutes: "what Pillow opens, it
# has read right; what it cannot read, it refuses".
# Ends with 0 while the behaviour is as described, with 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 tifffile==2026.3.3 "numpy>=2,<3"
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import numpy as np
import PIL
import tifffile
from PIL import Image

print(f"Pillow {PIL.__version__}, tifffile {tifffile.__version__}, NumPy {np.__version__}")
rows = np.arange(32)[:, None] * np.ones((1, 48), int)  # dark above, bright below
wide = (rows * 2000).astype(np.uint16)  # 0 to 62000
path = f"{sys.argv[1]}/a.tif"
planar = {"photometric": "rgb", "planarconfig": "separate"}
KINDS = {
    "16-bit RGB, planar, uncompressed": (np.stack([wide] * 3), planar),
    "int16, big-endian, deflate": ((rows * 100).astype(np.int16), {"byteorder": ">", "compression": "zlib"}),
    "int32, big-endian, deflate": ((rows * 100).astype(np.int32), {"byteorder": ">", "compression": "zlib"}),
    "float32, big-endian, deflate": ((rows / 31).astype(np.float32), {"byteorder": ">", "compression": "zlib"}),
    "uint32 above 2**31": ((rows.astype(np.uint32) << 27), {}),
    "16-bit, WhiteIsZero": (wide, {"photometric": "miniswhite"}),
}


def expected(array, options):
    """What Pillow's own modes stand for: upper bytes of 16-bit RGB; black is 0 in greys, as it makes 8-bit ones."""
    if options is planar:
        return np.moveaxis(array, 0, 2) >> 8
    return 65535 - array if options.get("photometric") == "miniswhite" else array


wrong = 0
for name, (array, options) in KINDS.items():
    tifffile.imwrite(path, array, **options)
    assert np.array_equal(tifffile.imread(path), array), "tifffile reads what it wrote"
    image = Image.open(path)
    seen, wanted = np.asarray(image), expected(array, options)
    same = seen.shape == wanted.shape and np.array_equal(seen.astype(float), wanted.astype(float))
    wrong += not same
    print(f"{name}: mode {image.mode}, row 20 {seen[20].ravel()[:3].tolist()}, stored {wanted[20].ravel()[:3].tolist()}, "
          f"{'right' if same else 'WRONG, no word'}")
print(f"{wrong} of {len(KINDS)} kinds wrong")
sys.exit(wrong != len(KINDS))
PYTHON
