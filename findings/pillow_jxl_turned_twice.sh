#!/bin/sh
# A JPEG XL says in its codestream how it is turned, and libjxl's decoder turns it; EXIF may repeat the turn, and counts
# for nothing by the standard (libjxl, doc/format_overview.md). pillow-jxl-plugin leaves the turn in EXIF, so
# ImageOps.exif_transpose turns the upright picture once more, to lie on its side. Shown with a phone's JPEG that libjxl
# packs. As it is packed, the plugin gives the JPEG back, lying; without the box from which the JPEG is restored, which
# a file need not have (cjxl --allow_jpeg_reconstruction=0), it gives the picture upright; EXIF says 6 both times.
# Files that the plugin writes of pixels do not show it: there only EXIF has the turn, and other decoders leave them so.
# The good guess that this refutes: "after ImageOps.exif_transpose a picture that Pillow opened is upright".
# Ends with 0 while the behaviour is as described, with 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip="$folder/venv/bin/pip"
"$pip" install --quiet --disable-pip-version-check pillow==13.0.0 pillow-jxl-plugin==1.3.8 imagecodecs==2026.3.6 \
    "numpy>=2,<3"
"$folder/venv/bin/python" <<'PYTHON'
import io
import struct
import sys
from importlib.metadata import version

import imagecodecs
import numpy as np
import PIL
import pillow_jxl  # registers itself in Pillow
from PIL import Image, ImageOps

print(f"Pillow {PIL.__version__}, pillow-jxl-plugin {version('pillow-jxl-plugin')}, "
      f"imagecodecs {imagecodecs.__version__} with {imagecodecs.jpegxl_version()}")
ORIENTATION, TURN_RIGHT = 0x0112, 6
COLOURS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250), "white": (250, 250, 250)}
stored = np.array(list(COLOURS.values()), np.uint8).reshape(2, 2, 3).repeat(64, 0).repeat(96, 1)
exif = Image.Exif()
exif[ORIENTATION] = TURN_RIGHT


def corners(image):
    """The colours of an image from the upper left to the lower right, as words."""
    pixels = np.asarray(image).astype(int)
    height, width = pixels.shape[:2]
    seen = [pixels[y * height // 4, x * width // 4] for y in (1, 3) for x in (1, 3)]
    return " ".join(min(COLOURS, key=lambda name: np.abs(COLOURS[name] - colour).sum()) for colour in seen)


def file_of(format, **options):
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, format, exif=exif.tobytes(), **options)
    return buffer.getvalue()


def without_the_jpeg(data):
    """The container without the box that restores the JPEG (jbrd), and with its packed EXIF (brob) unpacked."""
    said = bytes(4) + exif.tobytes().removeprefix(b"Exif\0\0")
    kept, at = b"", 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        size = size or len(data) - at
        kept += b"" if kind in (b"jbrd", b"brob") else data[at : at + size]
        at += size
    return kept + struct.pack(">I4s", 8 + len(said), b"Exif") + said


jpeg = file_of("JPEG", quality=95)
packed = bytes(imagecodecs.jpegxl_encode_jpeg(jpeg))
files = {
    "JPEG": jpeg,
    "JPEG XL with its JPEG": packed,
    "JPEG XL without": without_the_jpeg(packed),
    "JPEG XL by the plugin": file_of("JXL", lossless=True, use_container=True),
}
seen = {}
for name, data in files.items():
    decode = imagecodecs.jpeg_decode if name == "JPEG" else imagecodecs.jpegxl_decode
    with Image.open(io.BytesIO(data)) as image:
        seen[name] = corners(image), corners(ImageOps.exif_transpose(image)), corners(decode(data))
        print(f"{name}: EXIF {image.getexif().get(ORIENTATION)}, opened {seen[name][0]}, transposed {seen[name][1]}, "
              f"by imagecodecs {seen[name][2]}")
lying, upright = seen["JPEG"][:2]
turned_twice = " ".join(reversed(lying.split()))
as_described = seen["JPEG XL with its JPEG"] == (lying, upright, upright)
as_described &= seen["JPEG XL without"] == (upright, turned_twice, upright)
as_described &= seen["JPEG XL by the plugin"] == (lying, upright, lying)
sys.exit(not as_described)
PYTHON
