"""The files that a pattern such as "photos/**/*.jpg" matches, each once."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from camserve.datasets.batch_results import Results
from camserve.datasets.folders import UNREADABLE, Entry, check_readable, is_folder, is_link, kind_of, listed
from camserve.datasets.left_out import LeftOut
from camserve.errors import OptionError

_ANY = "**"  # zero or more folders

# The parts of a pattern that may match the next name. There can be several, because "**" may match more folders or end.
Places = frozenset[int]


def root_of(pattern: str) -> Path:
    """The folder that is searched: the part of the pattern before the first wildcard."""
    return Path(*_split(pattern)[0])


def matching(pattern: str, out: Path, left_out: LeftOut) -> Iterator[Entry]:
    """The files that a pattern matches, in any order, and folders that cannot be read; without the results of a batch.

    "**" does not follow links to folders; a name does. out: see `Results`. Raises OptionError if the folder before the
    first wildcard cannot be read, or ".." comes after a wildcard.
    """
    fixed, parts = _split(pattern)
    root, results = Path(*fixed), Results(out)
    if os.pardir in parts:
        raise OptionError(f"'{pattern}': '..' cannot come after a wildcard; write the path without it")
    check_readable(root)
    ahead: list[tuple[Path, Places]] = [(root, _reached([0], parts))]
    while ahead:
        folder, places = ahead.pop()
        for entry in listed(folder):
            if entry is None:
                yield Entry(folder, UNREADABLE)
                continue
            path, linked = Path(entry.path), is_link(entry)
            further = _after(places, parts, entry.name, linked=linked)
            if is_folder(entry):
                if further - {len(parts)}:
                    if reason := results.of_folder(path, linked=linked):
                        left_out.add(reason, path.relative_to(root).as_posix())
                    else:
                        ahead.append((path, further))
            elif len(parts) in further:
                if linked and (reason := results.of_link(path)):
                    left_out.add(reason, path.relative_to(root).as_posix())
                else:
                    yield Entry(path, kind_of(entry))


def _split(pattern: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The parts before the first wildcard, and the rest."""
    parts = Path(pattern).parts
    fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    return parts[:fixed], parts[fixed:]


def _after(places: Places, parts: Sequence[str], name: str, *, linked: bool) -> Places:
    """The parts of the pattern that may match below an entry of this name."""
    found = []
    for place in places - {len(parts)}:
        if parts[place] == _ANY:
            found += [] if linked else [place]
        elif fnmatchcase(name, parts[place]):
            found.append(place + 1)
    return _reached(found, parts)


def _reached(places: Iterable[int], parts: Sequence[str]) -> Places:
    """These places, and the places after each "**" among them, because "**" may match no folder."""
    found = set(places)
    for place, part in enumerate(parts):
        if place in found and part == _ANY:
            found.add(place + 1)
    return frozenset(found)
