"""What the C library does with memory that was freed: for programs, whose whole process is ours."""

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

# mallopt's numbers (malloc.h of glibc), and the variables by which users set the same.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = (-1, "MALLOC_TRIM_THRESHOLD_"), (-3, "MALLOC_MMAP_THRESHOLD_")
_KEPT, _LARGE = 32 * 2**20, 32 * 2**20
# Freed memory is given back when nothing has been done for so many seconds. In the middle of work it takes up to 0.1 s,
# in which every thread waits that wants memory: it is done as seldom as this, and only while the process holds so many
# bytes more than it did at its least, once it has loaded what it needs.
_PAUSE_SECONDS, _BUSY_SECONDS, _GROWTH = 5.0, 60.0, 512 * 2**20
_LOOK_SECONDS, _LOADING_SECONDS = 1.0, 60.0


def keep_freed_memory() -> None:
    """Let each thread's heap keep up to 32 MB that it has freed; larger blocks go back to the system at once.

    glibc by itself gives nearly all of it back, so that a network's activations on torch are fetched again page by page
    for each image, a fifth of the time of a batch with two workers (benchmarks/folders.py). Nothing happens where the
    library is another, and nothing to what the environment sets.

    Only the end of a heap is given back by itself: blocks of images that came and went in another order stay. So a
    program that lives long also calls `give_back_when_idle`.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return
    for (number, variable), value in ((_TRIM_THRESHOLD, _KEPT), (_MMAP_THRESHOLD, _LARGE)):
        if variable not in os.environ:
            mallopt(number, value)


def give_back_when_idle(idle_seconds: Callable[[], float], rest: Callable[[], None]) -> None:
    """Give freed memory back to the system when there has been nothing to do for a while, or when it has grown much.

    On a thread of its own, for as long as the process lives. idle_seconds: for how long nothing has been done. rest:
    called when there is nothing to do, to free what is not needed. Nothing happens where the library is not glibc.
    """
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        threading.Thread(
            target=_give_back, args=(trim, idle_seconds, rest), name="camserve-memory", daemon=True
        ).start()


def _give_back(trim: Callable[[int], int], idle_seconds: Callable[[], float], rest: Callable[[], None]) -> None:
    rested, before, least, due = False, 0.0, 0, time.monotonic() + _LOADING_SECONDS
    while True:
        time.sleep(_LOOK_SECONDS)
        idle = idle_seconds()
        rested, before = rested and idle > before, idle  # less than before: something has been done since
        if idle > _PAUSE_SECONDS and not rested:
            rested = True
            rest()
        elif time.monotonic() < due or _resident() < least + _GROWTH:
            continue
        trim(0)
        least, due = min(least or sys.maxsize, _resident()), time.monotonic() + _BUSY_SECONDS


def _resident() -> int:
    """Bytes of memory that the process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _of_glibc(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
