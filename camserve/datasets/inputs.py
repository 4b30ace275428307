"""What a batch explains: a folder, a pattern, a list of files, or a table with a class for each."""

import csv
import glob
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import NamedTuple

from camserve.datasets.remote import inside_of, is_remote, walk_remote, without_password
from camserve.errors import OptionError

# Files with other endings lie in every folder of photographs; those that claim to be images must be ones.
IMAGE_ENDINGS = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
    ".avif", ".avifs",
))  # fmt: skip
LISTS = (".txt", ".lst", ".list")
_LONGEST_NAME = 180  # bytes; file systems take 255, and an ending and a temporary one are put behind
_LOOKS_WRITTEN = re.compile(r"\.(jpg|png|webp|npy)=*$", re.IGNORECASE)


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


def find_items(source: str, out: Path, *, folders_are_classes: bool = False) -> Iterator[Item | None]:
    """The images of `source` one by one, in no order; None for each file that is not named like an image.

    source: a folder, walked without following links to folders; a pattern such as "photos/**/*.jpg"; a list of files
    (.txt), one a line; a table (.csv) with a column `file`, and `class` or `target` or both; or the URI of a folder.
    Paths in lists and tables are URIs, or relative to the file they stand in. What lies in `out` is left out.
    folders_are_classes: the first folder below is the class that its images show. Raises OptionError, also midway,
    naming the line.
    """
    path = Path(source)
    if is_remote(source):
        yield from _remote(source, folders_are_classes)
    elif path.is_dir():
        yield from _below(path, out.resolve(), folders_are_classes)
    elif folders_are_classes:
        raise OptionError(f"'{source}' is not a folder, so it has no folders named by classes")
    elif path.is_file():
        yield from _listed(path)
    elif glob.has_magic(source):
        yield from _matching(source, out.resolve())
    else:
        raise OptionError(f"'{source}' is not there; allowed are a folder, a pattern, a .txt list and a .csv table")


def check_source(source: str, out: Path, *, folders_are_classes: bool = False) -> None:
    """Raise OptionError where `source` has no images, or its beginning cannot be read. Options: see `find_items`."""
    others = 0
    for item in find_items(source, out, folders_are_classes=folders_are_classes):
        if item is not None:
            return
        others += 1
    raise nothing_found(source, others)


def find_images(folder: Path, out: Path) -> tuple[list[Path], int]:
    """Files below `folder` named like images, sorted, and the number of others; what lies in `out` is neither.

    For folders that fit into memory. Raises OptionError where there are none.
    """
    if not folder.is_dir():
        raise OptionError(f"'{folder}' is not a folder; for single files use `camserve explain`")
    items = list(find_items(str(folder), out))
    found = sorted(Path(item.path) for item in items if item is not None)
    if not found:
        raise nothing_found(str(folder), len(items))
    return found, len(items) - len(found)


def nothing_found(source: str, ignored: int) -> OptionError:
    """The error of a source without images."""
    return OptionError(
        f"no images in '{source}' ({ignored} other files); looked for {', '.join(sorted(IMAGE_ENDINGS))}"
    )


def name_of(path: Path, root: Path) -> str:
    """What the results of a file are called: its path below `root`, made so that it is no other's and stays below.

    "=" marks what was changed: a path that leads elsewhere, and folders that end like a result, whose place a result
    could take. Names that are too long or no Unicode end in a hash.
    """
    absolute = path.absolute()
    try:
        parts = absolute.relative_to(root.absolute()).parts
    except ValueError:
        parts = absolute.parts
    return "/".join([*map(_folder_name, parts[:-1]), _file_name(parts[-1])])


def _folder_name(part: str) -> str:
    if part == os.pardir:
        return "=up"
    if PurePath(part).is_absolute():
        return "=root"
    changed = f"={part}" if part.startswith("=") else part
    return _file_name(f"{changed}=" if _LOOKS_WRITTEN.search(changed) else changed)


def _file_name(part: str) -> str:
    encoded = os.fsencode(part)
    text = encoded.decode("utf-8", "replace")
    if text == part and len(encoded) <= _LONGEST_NAME:
        return part
    kept = PurePath(text).stem.encode()[: _LONGEST_NAME - 60].decode("utf-8", "ignore")
    return f"{kept}={hashlib.sha256(encoded).hexdigest()[:16]}{PurePath(text).suffix[:10]}"


def _remote(source: str, folders_are_classes: bool) -> Iterator[Item | None]:
    for uri, path in walk_remote(source):
        if not _is_image(path) or (folders_are_classes and len(path.parts) == 1):
            yield None
        else:
            expected = path.parts[0] if folders_are_classes else None
            name, inside = name_of(path, Path()), path.as_posix()
            yield Item(name, uri, (), expected, None if inside == name else inside)


def _below(folder: Path, out: Path, folders_are_classes: bool) -> Iterator[Item | None]:
    for path in _walk(folder, out):
        inside = path.relative_to(folder).parts
        if folders_are_classes and len(inside) == 1:
            yield None  # beside the folders, so of no class
        elif _is_image(path):
            yield _found(path, folder, inside[0] if folders_are_classes else None)
        else:
            yield None


def _walk(folder: Path, out: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:  # a list of a folder's files, as iterdir makes, would grow with them
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                if path.resolve() != out:
                    yield from _walk(path, out)
            elif entry.is_file():
                yield path


def _matching(pattern: str, out: Path) -> Iterator[Item | None]:
    parts = Path(pattern).parts
    fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed])
    for path in root.glob("/".join(parts[fixed:])):
        if path.is_file() and out not in path.resolve().parents:
            yield _found(path, root) if _is_image(path) else None


def _found(path: Path, root: Path, expected: str | None = None) -> Item:
    name, inside = name_of(path, root), path.relative_to(root).as_posix()
    return Item(name, str(path), (), expected, None if inside == name else inside)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".")


def _listed(path: Path) -> Iterator[Item]:
    if path.suffix.lower() not in (*LISTS, ".csv"):
        raise OptionError(
            f"'{path}' is one file; for images use `camserve explain`. A list of files ends in {', '.join(LISTS)}, "
            "a table in .csv"
        )
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            if path.suffix.lower() == ".csv":
                yield from _table(csv.DictReader(lines), path)
            else:
                named = (line.rstrip("\r\n") for line in lines)
                yield from (_item(name, path.parent) for name in named if name.strip())
    except (OSError, csv.Error) as error:
        raise OptionError(f"cannot read '{path}': {error}") from None


def _table(rows: "csv.DictReader[str]", path: Path) -> Iterator[Item]:
    columns = rows.fieldnames or []
    if "file" not in columns:
        raise OptionError(f"'{path}' has the columns {', '.join(columns) or '(none)'}; one must be called 'file'")
    for row in rows:
        if not row["file"]:
            raise OptionError(f"'{path}', line {rows.line_num}: no file is named")
        target, expected = (row.get("target") or "").strip(), (row.get("class") or "").strip()
        yield _item(row["file"], path.parent, (target,) if target else (), expected or None)


def _item(given: str, root: Path, targets: tuple[str, ...] = (), expected: str | None = None) -> Item:
    if is_remote(given):
        scheme = given.split("://", 1)[0]
        name = f"={scheme}/{name_of(Path(inside_of(given)), Path())}"
        return Item(name, given, targets, expected, without_password(given))
    name = name_of(root / given, root)
    return Item(name, str(root / given), targets, expected, None if given == name else given)
