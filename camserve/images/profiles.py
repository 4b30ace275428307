"""Colour profiles (ICC) to sRGB, by LittleCMS as Pillow brings it.

Relative colorimetric with black-point compensation, as picture editors do by default: white stays white and black stays
black. A profile that is sRGB to within two of 255 levels converts nothing, so its picture keeps every bit.
"""

import hashlib
import io
import threading
from typing import Any

import numpy as np
from PIL import Image

_LARGEST = 8 * 2**20  # bytes of a profile; those of printing presses have up to three million
_KEPT = 4  # transforms a thread, the last used
_SAME = 2  # of 255: how far from sRGB a profile counts as sRGB
_STEPS = 9  # a channel, of the colours on which that is tried
# What the pixels of a mode are to a profile; CIELAB, HSV and the like have none
_SPACES = {"1": "L", "L": "L", "LA": "L", "La": "L", "I": "L", "F": "L", "P": "RGB", "PA": "RGB", "CMYK": "CMYK"}
_SPACES |= {"RGB": "RGB", "RGBA": "RGB", "RGBa": "RGB", "RGBX": "RGB", "YCbCr": "RGB"}
_NAMES = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}


class Conversion:
    """From a profile to sRGB, for the thread that made it."""

    def __init__(self, profile: bytes) -> None:
        from PIL import ImageCms

        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        self.space = _NAMES[opened.profile.xcolor_space]
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        if self.space == "L":  # LittleCMS, made fast, is up to ten levels off in dark greys
            flags |= ImageCms.Flags.NOOPTIMIZE
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        srgb = ImageCms.createProfile("sRGB")
        self._transform: Any = ImageCms.buildTransform(opened, srgb, self.space, "RGB", intent, flags)
        self._greys: list[int] | None = None  # of every grey its red, then its green, then its blue
        if self.space == "L":
            every = self._transform.apply(Image.fromarray(np.arange(256, dtype=np.uint8)[None]))
            self._greys = np.asarray(every)[0].T.ravel().tolist()
        self.changes = self.space == "CMYK" or self._deviation() > _SAME

    def __call__(self, image: Image.Image) -> Image.Image:
        """An RGB image; RGB pixels are converted where they lie, so `image` is the caller's own."""
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
    """What a thread has made, by the hash of the profile: transforms are not shared between threads."""

    def __init__(self) -> None:
        self.made: dict[bytes, Conversion | None] = {}


_MINE = _Mine()


def conversion(profile: Any, mode: str) -> tuple[Conversion | None, list[str]]:
    """What makes sRGB of pixels of a Pillow mode, if anything is to be done; and what is to be said.

    profile: its bytes; anything else, as Pillow may find in a broken file, is none. A grey picture with a profile of
    colours is taken as one whose three colours are alike.
    """
    space = _SPACES.get(mode.partition(";")[0])
    if not isinstance(profile, bytes) or not profile or space is None:
        return None, []
    made = _made(profile)
    if made is None:
        return None, ["its colour profile is damaged or of a rare variant, so its colours are shown as they are stored"]
    if made.space != space and (made.space, space) != ("RGB", "L"):
        spaces = {"L": "greys", "RGB": "RGB colours", "CMYK": "CMYK colours"}
        return None, [
            f"its colour profile is one of {spaces[made.space]} and its pixels are {spaces[space]}, so they are shown "
            "as they are stored"
        ]
    return (made if made.changes else None), []


def _made(profile: bytes) -> Conversion | None:
    made, key = _MINE.made, hashlib.sha256(profile).digest()
    if key not in made:
        try:
            found = Conversion(profile) if len(profile) <= _LARGEST else None
        except MemoryError:
            raise
        except Exception:  # a damaged profile costs the profile, not the picture; so does a Pillow without LittleCMS
            found = None
        while len(made) >= _KEPT:
            made.pop(next(iter(made)))
        made[key] = found
    made[key] = made.pop(key)  # the last used goes last
    return made[key]
