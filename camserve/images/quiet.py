"""Silence of the C library in Pillow that writes what it finds wrong with a TIFF to stderr, past Python.

The same faults come back as errors, which are ours to word.
"""

import ctypes
from contextlib import suppress
from pathlib import Path

import PIL


def silence_libtiff() -> None:
    """For the whole process, where Pillow's wheel brings the library as a file; elsewhere nothing changes."""
    folder = Path(PIL.__file__).parent
    for path in (*folder.parent.glob("pillow.libs/libtiff*"), *folder.glob(".dylibs/libtiff*")):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(str(path)).TIFFSetErrorHandler(None)
