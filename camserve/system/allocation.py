"""When the C library gives freed memory back to the system. Only for programs that own their process."""

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

# mallopt's numbers (malloc.h of glibc), and the environment variables that set the same values.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = (-1, "MALLOC_TRIM_THRESHOLD_"), (-3, "MALLOC_MMAP_THRESHOLD_")
_KEPT, _LARGE = 32 * 2**20, 32 * 2**20
# Freed memory is given back after _PAUSE_SECONDS without work. During work this takes up to 0.1 s, and every thread
# that allocates memory waits; so it happens at most every _BUSY_SECONDS, only after loading, and only if the process
# has grown by _GROWTH bytes above its minimum.
_PAUSE_SECONDS, _BUSY_SECONDS, _GROWTH = 5.0, 60.0, 512 * 2**20
_LOOK_SECONDS, _LOADING_SECONDS = 1.0, 60.0


def keep_freed_memory() -> None:
    """Let each thread's heap keep up to 32 MB of freed memory; larger blocks go back to the system at once.

    By default glibc gives back nearly all of it, and torch must fetch the memory of activations page by page for each
    image: a fifth of the time of a batch with two workers (benchmarks/folders.py). The function does nothing with
    another C library, and does not change what the environment sets.

    glibc gives back only the end of a heap; free blocks before it stay. So a program that runs long also calls
    `give_back_when_idle`.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return
    for (number, variable), value in ((_TRIM_THRESHOLD, _KEPT), (_MMAP_THRESHOLD, _LARGE)):
        if variable not in os.environ:
            mallopt(number, value)


def give_back_when_idle(idle_seconds: Callable[[], float], rest: Callable[[], None]) -> None:
    """Give freed memory back to the system when the process is idle for a while, or when its memory has grown a lot.

    A thread of its own does this until the process ends. idle_seconds: returns how long the process has been idle.
    rest: called when the process is idle, to free what is not needed. Without glibc nothing happens.
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
        rested, before = rested and idle > before, idle  # a smaller number means that there was work since
        if idle > _PAUSE_SECONDS and not rested:
            rested = True
            rest()
        elif time.monotonic() < due or _resident() < least + _GROWTH:
            continue
        trim(0)
        least, due = min(least or sys.maxsize, _resident()), time.monotonic() + _BUSY_SECONDS


def _resident() -> int:
    """Return the bytes of memory that the process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _of_glibc(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
