"""What a batch explains: a folder, a pattern, a list of files, or a table with a class for each."""

import glob
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from camserve.datasets.folders import walk
from camserve.datasets.left_out import BESIDE, HIDDEN, OTHER, LeftOut
from camserve.datasets.naming import name_of
from camserve.datasets.remote import inside_of, is_remote, walk_remote, without_password
from camserve.datasets.tables import LISTS, TABLES, is_text, not_utf8, read_list, read_table
from camserve.errors import OptionError

# Files with other endings lie in every folder of photographs; those that claim to be images must be ones.
IMAGE_ENDINGS = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
    ".avif", ".avifs", ".heic", ".heif", ".hif", ".jxl", ".dcm", ".dicom",
))  # fmt: skip


class Item(NamedTuple):
    """One image to explain. name: unique in a batch, POSIX, what its files are called. path: where it is.

    targets: what to explain of it, as a table says; () for what the options say. expected: the class it shows, if
    known, as given: an index or a name. given: what a list, a table or a folder calls it, None where that is its name.
    """

    name: str
    path: str
    targets: tuple[str, ...] = ()
    expected: str | None = None
    given: str | None = None

    @property
    def file(self) -> str:
        """What people read, and what joins with their table: the path as given, in letters that can be written."""
        if self.given is None:
            return self.name
        return self.given.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def find_items(
    source: str, out: Path, *, folders_are_classes: bool = False, left_out: LeftOut | None = None
) -> Iterator[Item | None]:
    """The images of `source` one by one, in no order; None for each file that is not named like an image.

    source: a folder; a pattern such as "photos/**/*.jpg"; a list of files (.txt), one a line; a table (.csv, .tsv) with
    a column `file`, and `class` or `target` or both; or the URI of a folder. Links to folders are followed in a folder,
    see `walk`, and not by "**". Paths in lists and tables are URIs, or relative to the file they stand in. What lies in
    `out` is left out. folders_are_classes: the first folder below is the class that its images show.
    left_out: is told of what is left out, and why. Raises OptionError, also midway, naming the line.
    """
    path, left_out = Path(source), left_out or LeftOut()
    if is_remote(source):
        yield from _remote(source, folders_are_classes, left_out)
    elif path.is_dir():
        yield from _below(path, out.resolve(), folders_are_classes, left_out)
    elif folders_are_classes:
        raise OptionError(f"'{source}' is not a folder, so it has no folders named by classes")
    elif path.is_file():
        yield from _listed(path, left_out)
    elif glob.has_magic(source):
        yield from _matching(source, out.resolve(), left_out)
    else:
        raise OptionError(f"'{source}' is not there; allowed are a folder, a pattern, a .txt list and a .csv table")


def check_source(source: str, out: Path, *, folders_are_classes: bool = False) -> None:
    """Raise OptionError where `source` has no images, or its beginning cannot be read. Options: see `find_items`."""
    left_out = LeftOut()
    for item in find_items(source, out, folders_are_classes=folders_are_classes, left_out=left_out):
        if item is not None:
            return
    raise nothing_found(source, left_out)


def find_images(folder: Path, out: Path) -> tuple[list[Path], int]:
    """Files below `folder` named like images, sorted, and the number of others; what lies in `out` is neither.

    For folders that fit into memory. Raises OptionError where there are none.
    """
    if not folder.is_dir():
        raise OptionError(f"'{folder}' is not a folder; for single files use `camserve explain`")
    left_out = LeftOut()
    items = list(find_items(str(folder), out, left_out=left_out))
    found = sorted(Path(item.path) for item in items if item is not None)
    if not found:
        raise nothing_found(str(folder), left_out)
    return found, len(items) - len(found)


def nothing_found(source: str, left_out: LeftOut) -> OptionError:
    """The error of a source without images."""
    if beside := left_out.count(BESIDE):
        images = "1 image lies" if beside == 1 else f"{beside} images lie"
        return OptionError(
            f"{images} directly in '{source}', not in folders named by classes: put each into the folder of its class, "
            "or leave --folders-are-classes out"
        )
    there = f"; left out: {left_out}" if str(left_out) else ""
    return OptionError(f"no images in '{source}'{there}; looked for {', '.join(sorted(IMAGE_ENDINGS))}")


def _remote(source: str, folders_are_classes: bool, left_out: LeftOut) -> Iterator[Item | None]:
    for uri, path in walk_remote(source):
        if _is_taken(path, len(path.parts) == 1 and folders_are_classes, left_out):
            name, inside = name_of(path, Path()), path.as_posix()
            expected = path.parts[0] if folders_are_classes else None
            yield Item(name, uri, (), expected, None if inside == name else inside)
        else:
            yield None


def _below(folder: Path, out: Path, folders_are_classes: bool, left_out: LeftOut) -> Iterator[Item | None]:
    for path in walk(folder, out, left_out):
        inside = path.relative_to(folder)
        if _is_taken(inside, len(inside.parts) == 1 and folders_are_classes, left_out):
            yield _found(path, folder, inside.parts[0] if folders_are_classes else None)
        else:
            yield None


def _matching(pattern: str, out: Path, left_out: LeftOut) -> Iterator[Item | None]:
    parts = Path(pattern).parts
    fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed])
    for path in root.glob("/".join(parts[fixed:])):
        if path.is_file() and out not in path.resolve().parents:
            yield _found(path, root) if _is_taken(path.relative_to(root), False, left_out) else None


def _found(path: Path, root: Path, expected: str | None = None) -> Item:
    name, inside = name_of(path, root), path.relative_to(root).as_posix()
    return Item(name, str(path), (), expected, None if inside == name else inside)


def _is_taken(inside: Path, beside: bool, left_out: LeftOut) -> bool:
    """Whether a file is explained; if not, why not is counted. beside: whether it lies beside folders of classes."""
    if inside.name.startswith("."):
        left_out.add(HIDDEN, inside.as_posix())
    elif inside.suffix.lower() not in IMAGE_ENDINGS:
        left_out.add(OTHER, inside.as_posix())
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
                raise OptionError(f"'{path}', line {number}: no file is named")
            yield _item(row["file"], path, number, (row["target"],) if row["target"] else (), row["class"] or None)
    else:
        raise OptionError(
            f"'{path}' is one file; for images use `camserve explain`. A list of files ends in {', '.join(LISTS)}, "
            f"a table in {' or '.join(TABLES)}"
        )


def _item(given: str, listing: Path, number: int, targets: tuple[str, ...] = (), expected: str | None = None) -> Item:
    """An item from line `number` of a list or a table."""
    if "\0" in given:
        raise OptionError(f"'{listing}', line {number}, holds a NUL character: write one path a line, as UTF-8 text")
    if is_remote(given):
        given = given.strip()
        scheme = given.split("://", 1)[0]
        name = f"={scheme}/{name_of(Path(inside_of(given)), Path())}"
        return Item(name, given, targets, expected, without_password(given))
    inside = _meant(given, listing, number)
    name = name_of(listing.parent / inside, listing.parent)
    return Item(name, str(listing.parent / inside), targets, expected, None if given == name else given)


def _meant(given: str, listing: Path, number: int) -> str:
    """The path that a line means: blanks around it, and backslashes, are its own only where such a file is there."""
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
