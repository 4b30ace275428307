"""The images of a batch: a folder, a pattern, a list of files, or a table with a class for each file."""

import glob
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from camserve.datasets.folders import UNREADABLE, Entry, walk
from camserve.datasets.left_out import BESIDE, HIDDEN, OTHER, LeftOut
from camserve.datasets.naming import legible, name_of
from camserve.datasets.patterns import matching, root_of
from camserve.datasets.remote import inside_of, is_remote, local_path, walk_remote, without_password
from camserve.datasets.tables import LISTS, TABLES, is_text, not_utf8, read_list, read_table
from camserve.errors import OptionError
from camserve.system.files import reason

# Folders of photographs also hold files with other endings; these are ignored. Files with these endings must be images.
IMAGE_ENDINGS = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
    ".avif", ".avifs", ".heic", ".heif", ".hif", ".jxl", ".dcm", ".dicom",
))  # fmt: skip


class Item(NamedTuple):
    """One image to explain. name: unique in a batch, a POSIX path; its files are named by it. path: where the image is.

    targets: the targets that a table names for it; () to use those of the options. expected: the class that it shows,
    if known, as given: an index or a name. given: its path in the list, table or folder; None if that equals the name.
    """

    name: str
    path: str
    targets: tuple[str, ...] = ()
    expected: str | None = None
    given: str | None = None

    @property
    def file(self) -> str:
        """The path as given, for people and for joins with their table; bytes that are not UTF-8 are replaced."""
        return self.name if self.given is None else legible(self.given)


def find_items(
    source: str, out: Path, *, folders_are_classes: bool = False, left_out: LeftOut | None = None
) -> Iterator[Item | None]:
    """The images of `source` one by one, in any order; None for each file whose name has no image ending.

    source: a folder; a pattern such as "photos/**/*.jpg"; a list of files (.txt), one per line; a table (.csv, .tsv)
    with a column `file`, and optional columns `class` and `target`; or the URI of a folder. A folder's links to folders
    are followed, see `walk`; "**" does not follow links. Paths in lists and tables are URIs, or relative to the file
    that names them.
    In folders and patterns, the results of batches, in `out` or elsewhere, are left out. A folder that cannot be read
    is an item whose row will have the error; so is a file that has an image ending but is not an image.
    folders_are_classes: the first folder below the source is the class that its images show.
    left_out: counts the files that are left out, and why. Raises OptionError, also midway, with the line; OutputError
    if the folder for temporary files is full.
    """
    left_out, source = left_out or LeftOut(), local_folder(source)
    if is_remote(source):
        yield from _remote(source, folders_are_classes, left_out)
    elif os.path.isdir(source):  # noqa: PTH112 - False if it cannot be read, as below
        yield from _taken(walk(Path(source), out, left_out), Path(source), folders_are_classes, left_out)
    elif folders_are_classes:
        raise OptionError(f"'{source}' is not a folder, so it has no folders named by classes")
    elif os.path.isfile(source):  # noqa: PTH113
        yield from _listed(Path(source), left_out)
    elif glob.has_magic(source):
        yield from _taken(matching(source, out, left_out), root_of(source), False, left_out)
    else:
        raise _no_source(source)


def local_folder(source: str) -> str:
    """The source as given; a file:// URI of a folder of this machine becomes its path."""
    path = local_path(source) if is_remote(source) else None
    return path if path and os.path.isdir(path) else source  # noqa: PTH112


def folder_of(source: str) -> Path | None:
    """The folder that is searched: the source itself, or the part of a pattern before its first wildcard."""
    source = local_folder(source)
    if is_remote(source) or os.path.isfile(source):  # noqa: PTH113
        return None
    is_pattern = glob.has_magic(source) and not os.path.isdir(source)  # noqa: PTH112
    return root_of(source) if is_pattern else Path(source)


def check_source(source: str, out: Path, *, folders_are_classes: bool = False) -> None:
    """Raise OptionError if `source` has no images, or its beginning cannot be read. Options: see `find_items`."""
    left_out = LeftOut()
    for item in find_items(source, out, folders_are_classes=folders_are_classes, left_out=left_out):
        if item is not None:
            return
    raise nothing_found(source, left_out)


def find_images(folder: Path, out: Path) -> tuple[list[Path], int]:
    """Return the sorted files below `folder` with an image ending, and the number of others; both without `out`.

    For folders whose list of files fits into memory. Raises OptionError if there are no images.
    """
    if not os.path.isdir(folder):  # noqa: PTH112
        raise OptionError(f"'{folder}' is not a folder; for single files use `camserve explain`")
    left_out = LeftOut()
    items = list(find_items(str(folder), out, left_out=left_out))
    found = sorted(Path(item.path) for item in items if item is not None)
    if not found:
        raise nothing_found(str(folder), left_out)
    return found, len(items) - len(found)


def nothing_found(source: str, left_out: LeftOut) -> OptionError:
    """The error for a source without images."""
    if beside := left_out.count(BESIDE):
        images = "1 image is" if beside == 1 else f"{beside} images are"
        return OptionError(
            f"{images} directly in '{source}', not in folders named by classes: put each into the folder of its class, "
            "or leave out --folders-are-classes"
        )
    there = f"; left out: {left_out}" if str(left_out) else ""
    return OptionError(f"no images in '{source}'{there}; looked for {', '.join(sorted(IMAGE_ENDINGS))}")


def _remote(source: str, folders_are_classes: bool, left_out: LeftOut) -> Iterator[Item | None]:
    for uri, path, readable in walk_remote(source):
        if not readable or _is_taken(path, len(path.parts) == 1 and folders_are_classes, left_out):
            name, inside = name_of(path, Path()), path.as_posix()
            expected = path.parts[0] if folders_are_classes and readable else None
            yield Item(name, uri, (), expected, None if inside == name else inside)
        else:
            yield None


def _taken(entries: Iterable[Entry], root: Path, folders_are_classes: bool, left_out: LeftOut) -> Iterator[Item | None]:
    for path, kind in entries:
        inside = path.relative_to(root)
        if kind == UNREADABLE and path == root:
            raise OptionError(f"cannot read all of '{root}'")
        if kind == UNREADABLE:
            yield _found(path, root)
        elif _is_taken(inside, len(inside.parts) == 1 and folders_are_classes, left_out, kind or OTHER):
            yield _found(path, root, inside.parts[0] if folders_are_classes else None)
        else:
            yield None


def _found(path: Path, root: Path, expected: str | None = None) -> Item:
    name, inside = name_of(path, root), path.relative_to(root).as_posix()
    return Item(name, str(path), (), expected, None if inside == name else inside)


def _no_source(source: str) -> OptionError:
    allowed = "allowed are a folder, a pattern, a .txt list and a .csv table"
    try:
        os.stat(source)  # noqa: PTH116 - Path("") would be the working folder
    except (FileNotFoundError, NotADirectoryError):
        return OptionError(f"'{source}' does not exist; {allowed}")
    except (OSError, ValueError) as error:
        return OptionError(f"cannot read '{source}': {reason(error)}; {allowed}")
    return OptionError(f"'{source}' is neither a file nor a folder; {allowed}")


def _is_taken(inside: Path, beside: bool, left_out: LeftOut, kind: tuple[str, str] = OTHER) -> bool:
    """Whether a file is explained; if not, count it with the reason. beside: whether it lies beside folders of classes.

    kind: the reason if its name has no image ending.
    """
    if inside.name.startswith("."):
        left_out.add(HIDDEN, inside.as_posix())
    elif inside.suffix.lower() not in IMAGE_ENDINGS:
        left_out.add(kind, inside.as_posix())
    elif beside:
        left_out.add(BESIDE, inside.as_posix())
    else:
        return True
    return False


def _listed(path: Path, left_out: LeftOut) -> Iterator[Item]:
    if path.suffix.lower() in LISTS:
        for number, given in read_list(path):
            yield _item(given, path, number)
    elif path.suffix.lower() in TABLES:
        for number, row in read_table(path, ("file",), ("class", "target"), left_out.note):
            if not row["file"].strip():
                raise OptionError(f"'{path}', line {number}: the column file is empty")
            yield _item(row["file"], path, number, (row["target"],) if row["target"] else (), row["class"] or None)
    else:
        raise OptionError(
            f"'{path}' is one file; for single images use `camserve explain`. The name of a list of files ends in "
            f"{', '.join(LISTS)}, the name of a table in {' or '.join(TABLES)}"
        )


def _item(given: str, listing: Path, number: int, targets: tuple[str, ...] = (), expected: str | None = None) -> Item:
    """An item from line `number` of a list or a table."""
    if "\0" in given:
        raise OptionError(f"'{listing}', line {number}, holds a NUL character: write one path per line, as UTF-8 text")
    if is_remote(given):
        given = given.strip()
        scheme = given.split("://", 1)[0]
        name = f"={scheme}/{name_of(Path(inside_of(given)), Path())}"
        return Item(name, given, targets, expected, without_password(given))
    inside = _meant(given, listing, number)
    name = name_of(listing.parent / inside, listing.parent)
    return Item(name, str(listing.parent / inside), targets, expected, None if given == name else given)


def _meant(given: str, listing: Path, number: int) -> str:
    """The path that a line means. Blanks around it, and backslashes, belong to it only if such a file exists."""
    plain = given.strip()
    if given == plain and "\\" not in given and is_text(given):
        return given
    for one in (given, plain, plain.replace("\\", "/")):
        with suppress(OSError):  # such as for a name that is too long
            if (listing.parent / one).exists():
                return one
    if not is_text(given):
        raise not_utf8(f"'{listing}', line {number}")
    return plain
