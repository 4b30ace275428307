"""Silence libtiff, the C library in Pillow that writes its messages about a TIFF directly to standard error.

Pillow also raises these faults as Python errors, and camserve writes their messages.
"""

import ctypes
from contextlib import suppress
from pathlib import Path

import PIL


def silence_libtiff() -> None:
    """Silence libtiff in the whole process if Pillow's wheel contains it as a file; else do nothing."""
    folder = Path(PIL.__file__).parent
    for path in (*folder.parent.glob("pillow.libs/libtiff*"), *folder.glob(".dylibs/libtiff*")):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(str(path)).TIFFSetErrorHandler(None)
