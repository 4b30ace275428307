"""The files of a folder and of the folders below it, each once; links to folders are followed."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from camserve.datasets.batch_results import Results
from camserve.datasets.left_out import LOST, SEEN, SPECIAL, LeftOut
from camserve.datasets.scratch import scratch
from camserve.errors import OptionError

# Such folders are not left out. They fail as images fail, so that the user sees that their images are missing.
UNREADABLE = "folder that cannot be read", "folders that cannot be read"
_REAL, _LINK = 0, 1  # kinds of folders: all real ones are entered before links


class Entry(NamedTuple):
    """A path. kind: None for a file, else LOST, SPECIAL, or UNREADABLE for a folder."""

    path: Path
    kind: tuple[str, str] | None = None


def walk(folder: Path, out: Path, left_out: LeftOut) -> Iterator[Entry]:
    """All files below `folder`, and folders that cannot be read; without the results of a batch. out: see `Results`.

    Links to folders are followed after all real folders, in the order of their paths. No real folder is entered twice,
    so loops end, and a file is named by its real path if that is below `folder`. A temporary file without a name keeps
    the entered folders and those still to enter, so memory does not grow with their number or depth.
    Raises OptionError if `folder` cannot be read.
    """
    check_readable(folder)
    tables = "entered (place PRIMARY KEY) WITHOUT ROWID", "ahead (kind, path, PRIMARY KEY (kind, path)) WITHOUT ROWID"
    with scratch(*tables) as kept:
        yield from _Walk(folder, Results(out), left_out, kept).entries()


def check_readable(folder: Path) -> None:
    """Raise OptionError if `folder` cannot be read."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise OptionError(f"cannot read '{folder}': {error.strerror}") from None


def listed(folder: Path) -> "Iterator[os.DirEntry[str] | None]":
    """The entries of a folder; at the end None if some of them could not be read."""
    try:
        with os.scandir(folder) as entries:  # iterdir makes a list, which grows with the number of files
            yield from entries
    except OSError:
        yield None


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a folder, or a link to one."""
    with suppress(OSError):
        return entry.is_dir()
    return False


def is_link(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a link."""
    with suppress(OSError):
        return entry.is_symlink()
    return False


def kind_of(entry: "os.DirEntry[str]") -> tuple[str, str] | None:
    """The kind of an entry that is not a folder: None for a file, else LOST or SPECIAL."""
    with suppress(OSError):  # such as for a link to itself
        if entry.is_file():
            return None
    return LOST if is_link(entry) else SPECIAL


class _Walk:
    def __init__(self, root: Path, results: Results, left_out: LeftOut, kept: sqlite3.Connection) -> None:
        self.root, self.results, self.left_out, self.kept = root, results, left_out, kept

    def entries(self) -> Iterator[Entry]:
        self._later(_REAL, self.root)
        while first := self.kept.execute("SELECT kind, path FROM ahead ORDER BY kind, path LIMIT 1").fetchone():
            self.kept.execute("DELETE FROM ahead WHERE kind = ? AND path = ?", first)
            yield from self._of(Path(os.fsdecode(first[1])), linked=first[0] == _LINK)

    def _of(self, folder: Path, *, linked: bool) -> Iterator[Entry]:
        """The files of one folder; the folders in it are put off until later."""
        if folder != self.root and (reason := self.results.of_folder(folder, linked=linked)):
            self._leave_out(reason, folder)
            return
        try:
            there = folder.stat()
        except OSError:
            yield Entry(folder, UNREADABLE)
            return
        place = f"{there.st_dev}:{there.st_ino}"
        if not self.kept.execute("INSERT OR IGNORE INTO entered VALUES (?)", (place,)).rowcount:
            self._leave_out(SEEN, folder)
            return
        for entry in listed(folder):
            if entry is None:
                yield Entry(folder, UNREADABLE)
            elif is_folder(entry):
                self._later(_LINK if is_link(entry) else _REAL, Path(entry.path))
            elif is_link(entry) and (reason := self.results.of_link(Path(entry.path))):
                self._leave_out(reason, Path(entry.path))
            else:
                yield Entry(Path(entry.path), kind_of(entry))

    def _later(self, kind: int, folder: Path) -> None:
        self.kept.execute("INSERT OR IGNORE INTO ahead VALUES (?, ?)", (kind, os.fsencode(folder)))

    def _leave_out(self, reason: tuple[str, str], path: Path) -> None:
        self.left_out.add(reason, path.relative_to(self.root).as_posix())
