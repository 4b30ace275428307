"""What the C library does with memory that was freed: for programs, whose whole process is ours."""

import ctypes
import os
import sys

# mallopt's numbers (malloc.h of glibc), and the variables by which users set the same.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = (-1, "MALLOC_TRIM_THRESHOLD_"), (-3, "MALLOC_MMAP_THRESHOLD_")
_KEPT, _LARGE = 32 * 2**20, 32 * 2**20


def keep_freed_memory() -> None:
    """Let each thread's heap keep up to 32 MB that it has freed; larger blocks go back to the system at once.

    glibc by itself gives nearly all of it back, so that a network's activations on torch are fetched again page by page
    for each image, a fifth of the time of a batch with two workers (benchmarks/folders.py). Nothing happens where the
    library is another, and nothing to what the environment sets.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for (number, variable), value in ((_TRIM_THRESHOLD, _KEPT), (_MMAP_THRESHOLD, _LARGE)):
        if variable not in os.environ:
            mallopt(number, value)
