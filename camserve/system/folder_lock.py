"""A lock on a folder: one process writes into it, or any number of processes read it. It ends with the process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from camserve.errors import OptionError, OutputError
from camserve.system.files import make_folder, reason

try:
    import fcntl
except ImportError:  # Windows: there is no lock
    fcntl = None  # type: ignore[assignment]


@contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Lock a folder to write into it, and make it if missing. Raises OutputError, also if another process has it."""
    make_folder(folder)
    try:
        file = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise OutputError(f"cannot write into '{folder}': {reason(error)}") from None
    try:
        if not take(file):
            raise in_use(folder)
        yield
    finally:
        os.close(file)


def check_free(folder: Path) -> None:
    """Raise OutputError if another process has locked a folder. Makes no folder and keeps no lock."""
    with suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            if not take(file, alone=False):
                raise in_use(folder)
        finally:
            os.close(file)


@contextmanager
def reading_from(folder: Path) -> Iterator[None]:
    """Lock a folder to read it: inside the block no process starts writing. Raises OptionError if one writes now."""
    file = None
    with suppress(OSError):  # the reader reports a missing folder
        file = os.open(folder, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        if file is not None and not take(file, alone=False):
            raise OptionError(f"'{folder}' is being written by a run; wait until it ends")
        yield
    finally:
        if file is not None:
            os.close(file)


def in_use(folder: Path) -> OutputError:
    """Return the error about a folder that another process has locked."""
    return OutputError(
        f"'{folder}' is being written by another run, or read by `camserve compare`; wait for it, or give another OUT"
    )


def take(file: int, *, alone: bool = True) -> bool:
    """Lock an open file or folder until it is closed. Returns whether it worked. alone: other processes cannot read.

    If the file system has no locks, the result is always True.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
