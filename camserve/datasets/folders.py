"""The files of a folder, links to folders followed, and none twice."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from camserve.datasets.left_out import LOST, RESULTS_OF_A_BATCH, SEEN, SPECIAL, UNREADABLE, LeftOut
from camserve.errors import OptionError

# What every OUT of `camserve batch` holds: its overlays are no photographs to explain.
_RUN = ("run.json", "inputs.jsonl")


def walk(folder: Path, out: Path, left_out: LeftOut) -> Iterator[Path]:
    """Every file below `folder`, but not what lies in `out`, a resolved path. Raises OptionError for no folder to read.

    Links to folders are followed after all real folders, in the order of their paths, and no real folder is entered
    twice, so that loops end and what lies below itself is called by its real place. Which folders were entered is kept
    in a file without a name: memory does not grow with their number.
    """
    with closing(sqlite3.connect("")) as kept:
        kept.execute("CREATE TABLE entered (folder PRIMARY KEY) WITHOUT ROWID")
        kept.execute("CREATE TABLE links (path PRIMARY KEY) WITHOUT ROWID")
        yield from _Walk(folder, out, left_out, kept).files()


class _Walk:
    def __init__(self, root: Path, out: Path, left_out: LeftOut, kept: sqlite3.Connection) -> None:
        self.root, self.out, self.left_out, self.kept = root, out, left_out, kept

    def files(self) -> Iterator[Path]:
        try:
            os.scandir(self.root).close()
        except OSError as error:
            raise OptionError(f"cannot read '{self.root}': {error.strerror}") from None
        yield from self._below(self.root)
        while (first := self.kept.execute("SELECT min(path) FROM links").fetchone()[0]) is not None:
            self.kept.execute("DELETE FROM links WHERE path = ?", (first,))
            yield from self._below(Path(os.fsdecode(first)))

    def _below(self, folder: Path) -> Iterator[Path]:
        """The files below one folder; what cannot be looked at is left out with its reason."""
        if folder.resolve() == self.out and folder != self.root:
            return
        try:
            there = folder.stat()
            place = f"{there.st_dev}:{there.st_ino}"
            if not self.kept.execute("INSERT OR IGNORE INTO entered VALUES (?)", (place,)).rowcount:
                self._leave_out(SEEN, folder)
                return
            with os.scandir(folder) as entries:  # a list of a folder's files, as iterdir makes, would grow with them
                for entry in entries:
                    yield from self._of(entry)
        except OSError:
            self._leave_out(UNREADABLE, folder)

    def _of(self, entry: "os.DirEntry[str]") -> Iterator[Path]:
        path = Path(entry.path)
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # such as a link to itself
            is_folder = is_file = False
        if is_folder and entry.is_symlink():
            self.kept.execute("INSERT OR IGNORE INTO links VALUES (?)", (os.fsencode(path),))
        elif is_folder and all((path / name).is_file() for name in _RUN):
            if path.resolve() != self.out:
                self._leave_out(RESULTS_OF_A_BATCH, path)
        elif is_folder:
            yield from self._below(path)
        elif is_file:
            yield path
        else:
            self._leave_out(LOST if entry.is_symlink() else SPECIAL, path)

    def _leave_out(self, reason: tuple[str, str], path: Path) -> None:
        self.left_out.add(reason, path.relative_to(self.root).as_posix())
