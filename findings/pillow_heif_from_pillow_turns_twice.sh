#!/bin/sh
# pillow-heif writes a phone's photograph upright through its plugin, image.save("a.heic"), and turned twice through its
# own interface, pillow_heif.from_pillow(image).save("a.heic"). from_pillow turns the pixels as EXIF says, keeps EXIF as
# it is, and save writes that turn into the file once more, where readers follow it. Of the eight orientations only 1
# comes out right: after 6 and 8, as upright photographs of phones have it, the picture lies on its side, after 3 it
# stands on its head.
# The good guess that this refutes: "both ways of saving that pillow-heif has give the same picture".
# Ends with 0 while the behaviour is as described, with 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip="$folder/venv/bin/pip"
"$pip" install --quiet --disable-pip-version-check pillow==13.0.0 pillow-heif==1.8.1 "numpy>=2,<3"
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import numpy as np
import PIL
import pillow_heif
from PIL import Image, ImageOps

print(f"Pillow {PIL.__version__}, pillow-heif {pillow_heif.__version__}, libheif {pillow_heif.libheif_version()}")
pillow_heif.register_heif_opener()
ORIENTATION = 0x0112
folder = sys.argv[1]
COLOURS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250), "white": (250, 250, 250)}
stored = np.array(list(COLOURS.values()), np.uint8).reshape(2, 2, 3).repeat(64, 0).repeat(96, 1)


def corners(image):
    """The colours of an image from the upper left to the lower right, as words."""
    pixels = np.asarray(image.convert("RGB")).astype(int)
    height, width = pixels.shape[:2]
    seen = [pixels[y * height // 4, x * width // 4] for y in (1, 3) for x in (1, 3)]
    return " ".join(min(COLOURS, key=lambda name: np.abs(COLOURS[name] - colour).sum()) for colour in seen)


def read(path):
    """The corners as Pillow reads them, upright: pillow-heif itself follows the turn of the file."""
    with Image.open(path) as image:
        return corners(ImageOps.exif_transpose(image))


as_described = True
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(stored).save(f"{folder}/phone.jpg", exif=exif, quality=95)
    with Image.open(f"{folder}/phone.jpg") as image:
        image.save(f"{folder}/plugin.heic", quality=95)
        held = pillow_heif.from_pillow(image)
        held.save(f"{folder}/own.heic", quality=95)
    upright, plugin, own = (read(f"{folder}/{name}") for name in ("phone.jpg", "plugin.heic", "own.heic"))
    print(f"orientation {orientation}: JPEG {upright}; image.save {plugin}; from_pillow {corners(held.to_pillow())}; "
          f"from_pillow().save {own}, {'right' if own == upright else 'WRONG, no word'}")
    as_described &= plugin == upright == corners(held.to_pillow()) and (own == upright) == (orientation == 1)
    if orientation in (6, 8):  # two quarter turns of what is stored
        as_described &= own.split() == corners(Image.fromarray(stored)).split()[::-1]
sys.exit(not as_described)
PYTHON
