"""Reads lists and tables: any Unicode encoding; comma, semicolon or tab; blanks around the cells."""

import csv
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple, TextIO

from camserve.errors import OptionError, close_names, shown
from camserve.system.files import open_file

TABLES = (".csv", ".tsv")
LISTS = (".txt", ".lst", ".list")

_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32", b"\x00\x00\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16",
    b"\xef\xbb\xbf": "utf-8-sig",
}  # fmt: skip
_SEPARATORS = (",", ";", "\t")
_SEPARATOR_LINE = re.compile(r"sep=(.)\s*")  # Excel reads and writes this line before the header
_LOOKS_LIKE_A_PATH = re.compile(r"[/\\]|\.\w{2,5}$")
# Other names of the columns. They give an error, because a column of classes must never be ignored silently.
_OTHERWISE = {
    "label": "class", "labels": "class", "class name": "class", "class_name": "class", "classname": "class",
    "category": "class", "truth": "class", "ground truth": "class", "ground_truth": "class", "true class": "class",
    "true_class": "class", "expected": "class", "species": "class",
}  # fmt: skip


class Line(NamedTuple):
    """A line of a table. cells: the known columns, without blanks around the cells, except in `file`."""

    number: int
    cells: dict[str, str]


def read_list(path: Path) -> Generator[tuple[int, str]]:
    """Yield the number and the text of each line that is not blank. Raises OptionError if the list cannot be read.

    Bytes that are not UTF-8 are kept, because file names may hold them.
    """
    with _opened(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, line.rstrip("\r\n")


def read_table(
    path: Path, needed: Sequence[str], more: Sequence[str] = (), note: Callable[[str], None] = lambda _: None
) -> Generator[Line]:
    """Yield the lines of a table below its header. needed, more: the required and the optional columns.

    note: called with a text about columns that are not used. Raises OptionError with the line or the missing columns.
    """
    with _opened(path) as lines:
        first, header, separator, before = _header(path, lines, needed)
        names = [cell.strip().lower() for cell in header]
        _check_header(path, first, header, needed, more)
        others = [cell.strip() for cell, name in zip(header, names, strict=True) if name not in (*needed, *more)]
        if others and more:
            note(f"'{path}': columns not used: {', '.join(others)}; known are {', '.join((*needed, *more))}")
        rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        for cells in rows:
            if any(cell.strip() for cell in cells):
                yield _line(path, rows.line_num + before, cells, names, (*needed, *more), separator)


def _line(path: Path, number: int, cells: list[str], names: list[str], known: tuple[str, ...], separator: str) -> Line:
    if any(cell.strip() for cell in cells[len(names) :]):
        raise OptionError(
            f"'{path}', line {number}: {len(cells)} cells, but the header names {len(names)} columns; put cells that "
            f"hold {separator!r} in double quotes"
        )
    found = {name: cell if name == "file" else cell.strip() for name, cell in zip(names, cells, strict=False)}
    for name in known:
        if name != "file" and not is_text(found.get(name, "")):
            raise not_utf8(f"'{path}', line {number}, column {name}")
    return Line(number, {name: found.get(name, "") for name in known})


def is_text(given: str) -> bool:
    """Whether a text was decoded without loss."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


def not_utf8(where: str) -> OptionError:
    """The error for text in another encoding."""
    return OptionError(f"{where}: this is not UTF-8 text; save the file as UTF-8, which Excel calls 'CSV UTF-8'")


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a file in the encoding that its first bytes show. Raises OptionError, also for read errors in the block."""
    try:
        with open_file(path) as file:
            encoding = _encoding(file.read(64))
            file.seek(0)
            errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
            with TextIOWrapper(file, encoding, errors, newline="") as lines:
                yield lines
    except UnicodeDecodeError as error:
        raise OptionError(f"'{path}' is not {error.encoding} text: {error.reason}; save it as UTF-8") from None
    except (OSError, csv.Error) as error:
        raise OptionError(f"cannot read '{path}': {error}") from None


def _encoding(start: bytes) -> str:
    """The encoding: UTF-8, unless there is another byte-order mark, or every second byte is 0, as in UTF-16 English."""
    for mark, encoding in _MARKS.items():
        if start.startswith(mark):
            return encoding
    even, odd = start[::2].count(0), start[1::2].count(0)
    if odd * 4 > len(start) and not even:
        return "utf-16-le"
    return "utf-16-be" if even * 4 > len(start) and not odd else "utf-8"


def _header(path: Path, lines: TextIO, needed: Sequence[str]) -> tuple[str, list[str], str, int]:
    """Return the header's line, its cells, the separator of cells, and the number of lines up to the header."""
    separators: tuple[str, ...] = _SEPARATORS
    for number, line in enumerate(iter(lines.readline, ""), 1):
        if found := _SEPARATOR_LINE.fullmatch(line):
            separators = (found[1],)
        elif line.strip():
            cut = {one: next(csv.reader([line], delimiter=one, skipinitialspace=True)) for one in separators}
            has = {one: len({cell.strip().lower() for cell in cells} & set(needed)) for one, cells in cut.items()}
            best = max(cut, key=lambda one: (has[one], len(cut[one])))
            return line.strip(), cut[best], best, number
    raise OptionError(f"'{path}' is empty; its first line must name the columns, as in '{','.join(needed)}'")


def _check_header(path: Path, first: str, header: list[str], needed: Sequence[str], more: Sequence[str]) -> None:
    """Raise OptionError if columns are missing, occur twice, or have another name."""
    names, known = [cell.strip().lower() for cell in header], (*needed, *more)
    if "file" not in names and any(_LOOKS_LIKE_A_PATH.search(cell.strip()) for cell in header):
        example = ",".join((*needed, *more[:1]))
        raise OptionError(
            f"'{path}' begins with {shown(first)}; its first line must name the columns, as in '{example}'"
        )
    missing = [name for name in needed if name not in names]
    if missing == ["file"]:
        raise OptionError(f"'{path}' has the columns {', '.join(map(str.strip, header))}; one must be called 'file'")
    if missing:
        raise OptionError(f"'{path}' has no columns {', '.join(sorted(missing))}")
    if twice := [name for name in known if names.count(name) > 1]:
        raise OptionError(f"'{path}' has several columns called '{twice[0]}'; leave one")
    for name in names:
        meant = _OTHERWISE.get(name) or next(iter(close_names(name, more, likeness=0.8)), "")
        if name and name not in known and meant in more and meant not in names:
            raise OptionError(
                f"'{path}' has a column '{name}', but no column '{meant}': rename it to '{meant}' if it says "
                f"{_SAYS[meant]}, else remove it; known columns are {', '.join(known)}"
            )


_SAYS = {"class": "which class an image shows", "target": "what to explain of an image"}
