#!/bin/sh
# Of an animated JPEG XL pillow-jxl-plugin gives Pillow the last picture, and says that it is no animation: is_animated
# is False and n_frames 1. Of the same animation as GIF, WebP, AVIF and PNG Pillow opens the first picture and says how
# many there are. A picture that fades to black, say, is then classified as black, without a word.
# The good guess that this refutes: "Image.open of an animation gives its first picture".
# Ends with 0 while the behaviour is as described, with 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip="$folder/venv/bin/pip"
"$pip" install --quiet --disable-pip-version-check pillow==13.0.0 pillow-jxl-plugin==1.3.8 imagecodecs==2026.3.6 \
    "numpy>=2,<3"
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from importlib.metadata import version

import imagecodecs
import numpy as np
import PIL
import pillow_jxl  # registers itself in Pillow
from PIL import Image

print(f"Pillow {PIL.__version__}, pillow-jxl-plugin {version('pillow-jxl-plugin')}, "
      f"imagecodecs {imagecodecs.__version__} with {imagecodecs.jpegxl_version()}")
COLOURS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}
pictures = np.stack([np.full((32, 48, 3), colour, np.uint8) for colour in COLOURS.values()])
files = {name: f"{sys.argv[1]}/a.{name}" for name in ("gif", "webp", "avif", "png", "jxl")}
first, *others = map(Image.fromarray, pictures)
for name in ("gif", "webp", "avif", "png"):
    first.save(files[name], save_all=True, append_images=others, duration=100)
with open(files["jxl"], "wb") as file:
    file.write(imagecodecs.jpegxl_encode(pictures, lossless=True))
with open(files["jxl"], "rb") as file:
    assert np.array_equal(imagecodecs.jpegxl_decode(file.read()), pictures), "libjxl reads what it wrote"

found = {}
for name, path in files.items():
    with Image.open(path) as image:
        pixel = np.asarray(image.convert("RGB")).astype(int)[16, 24]
        colour = min(COLOURS, key=lambda colour: np.abs(COLOURS[colour] - pixel).sum())
        found[name] = colour, image.is_animated, image.n_frames
    print(f"{name}: {colour} of {', '.join(COLOURS)}; is_animated {image.is_animated}, n_frames {image.n_frames}")
as_described = found.pop("jxl") == ("blue", False, 1) and set(found.values()) == {("red", True, 3)}
sys.exit(not as_described)
PYTHON
