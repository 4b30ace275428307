"""Who has a folder: one process that writes into it, or any number that read it; given up with the process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from camserve.errors import OptionError, OutputError
from camserve.system.files import make_folder, reason

try:
    import fcntl
except ImportError:  # Windows: nobody is told
    fcntl = None  # type: ignore[assignment]


@contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Have a folder, made where it is not there, for oneself. Raises OutputError, also where somebody else has it."""
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
    """Raise OutputError where somebody else has a folder. Makes and keeps nothing."""
    with suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            if not take(file, alone=False):
                raise in_use(folder)
        finally:
            os.close(file)


@contextmanager
def reading_from(folder: Path) -> Iterator[None]:
    """While the block lasts nobody begins to write into the folder, if it is one. Raises OptionError where one does."""
    file = None
    with suppress(OSError):  # whoever reads says that it is not there
        file = os.open(folder, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        if file is not None and not take(file, alone=False):
            raise OptionError(f"'{folder}' is being written by a run; wait until it ends")
        yield
    finally:
        if file is not None:
            os.close(file)


def in_use(folder: Path) -> OutputError:
    """The error about a folder that somebody else has."""
    return OutputError(
        f"'{folder}' is being written by another run, or read by `camserve compare`; wait for it, or give another OUT"
    )


def take(file: int, *, alone: bool = True) -> bool:
    """Whether an open file or folder is this process's from now on, until it is closed. alone: for nobody else to read.

    Where the file system knows no locks, it always is.
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
