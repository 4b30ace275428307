"""Convert colours with a colour profile (ICC) to sRGB, with Pillow's LittleCMS.

The conversion is relative colorimetric with black-point compensation, the default of picture editors: white stays white
and black stays black. A profile that differs from sRGB by at most 2 of 255 levels is not applied, so that pixels keep
their values.
"""

import hashlib
import io
import threading
from typing import Any

import numpy as np
from PIL import Image

_LARGEST = 8 * 2**20  # bytes of a profile; profiles of printing presses have up to three million bytes
_KEPT = 4  # how many transforms each thread keeps, the most recently used ones
_SAME = 2  # levels of 255: a profile that differs from sRGB by at most this counts as sRGB
_STEPS = 9  # levels for each channel of the test colours
# {Pillow mode: space of its pixels for a profile}; modes such as CIELAB and HSV have no space here
_SPACES = {"1": "L", "L": "L", "LA": "L", "La": "L", "I": "L", "F": "L", "P": "RGB", "PA": "RGB", "CMYK": "CMYK"}
_SPACES |= {"RGB": "RGB", "RGBA": "RGB", "RGBa": "RGB", "RGBX": "RGB", "YCbCr": "RGB"}
_NAMES = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}


class Conversion:
    """Converts from a profile to sRGB; only in the thread that made it."""

    def __init__(self, profile: bytes) -> None:
        from PIL import ImageCms

        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        self.space = _NAMES[opened.profile.xcolor_space]
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        if self.space == "L":  # with optimisation, LittleCMS is up to ten levels off in dark greys
            flags |= ImageCms.Flags.NOOPTIMIZE
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        srgb = ImageCms.createProfile("sRGB")
        self._transform: Any = ImageCms.buildTransform(opened, srgb, self.space, "RGB", intent, flags)
        self._greys: list[int] | None = None  # the red of every grey, then the green, then the blue
        if self.space == "L":
            every = self._transform.apply(Image.fromarray(np.arange(256, dtype=np.uint8)[None]))
            self._greys = np.asarray(every)[0].T.ravel().tolist()
        self.changes = self.space == "CMYK" or self._deviation() > _SAME

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return an RGB image. RGB pixels are converted in place, so `image` must belong to the caller."""
        stored = image if image.mode == self.space else image.convert(self.space)
        if self.space == "RGB":
            self._transform.apply_in_place(stored)
        elif self._greys:
            stored = Image.merge("RGB", [stored] * 3).point(self._greys)
        else:
            stored = self._transform.apply(stored)
        stored.info.clear()
        return stored

    def _deviation(self) -> int:
        steps = np.rint(np.linspace(0, 255, _STEPS)).astype(np.uint8)
        grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
        colours = grid if self.space == "RGB" else np.arange(256, dtype=np.uint8)[None]
        seen = np.asarray(self(Image.fromarray(colours))).astype(int)
        return int(np.abs(seen - colours.reshape(1, colours.shape[1], -1)).max())


class _Mine(threading.local):
    """The transforms of one thread, by the hash of the profile. Threads do not share transforms."""

    def __init__(self) -> None:
        self.made: dict[bytes, Conversion | None] = {}


_MINE = _Mine()


def conversion(profile: Any, mode: str) -> tuple[Conversion | None, list[str]]:
    """The conversion of a Pillow mode's pixels to sRGB, or None if they need no conversion; and notes.

    profile: bytes; any other type, which Pillow may give for a broken file, means no profile. A grey picture with a
    profile for RGB is treated as RGB with three equal channels.
    """
    space = _SPACES.get(mode.partition(";")[0])
    if not isinstance(profile, bytes) or not profile or space is None:
        return None, []
    made = _made(profile)
    if made is None:
        return None, ["its colour profile is damaged or of a rare kind, so its colours are shown as they are stored"]
    if made.space != space and (made.space, space) != ("RGB", "L"):
        spaces = {"L": "greys", "RGB": "RGB colours", "CMYK": "CMYK colours"}
        return None, [
            f"its colour profile is for {spaces[made.space]} but its pixels are {spaces[space]}, so its colours are "
            "shown as they are stored"
        ]
    return (made if made.changes else None), []


def _made(profile: bytes) -> Conversion | None:
    made, key = _MINE.made, hashlib.sha256(profile).digest()
    if key not in made:
        try:
            found = Conversion(profile) if len(profile) <= _LARGEST else None
        except MemoryError:
            raise
        except Exception:  # with a damaged profile, or a Pillow without LittleCMS, the picture is read without profile
            found = None
        while len(made) >= _KEPT:
            made.pop(next(iter(made)))
        made[key] = found
    made[key] = made.pop(key)  # the most recently used one moves to the end
    return made[key]
