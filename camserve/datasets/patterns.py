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

_ANY = "**"  # any number of folders, none as well

# Places in a pattern that may match what comes next: several, as "**" may end or go on.
Places = frozenset[int]


def root_of(pattern: str) -> Path:
    """The folder that is looked through: what stands before the first wildcard."""
    return Path(*_split(pattern)[0])


def matching(pattern: str, out: Path, left_out: LeftOut) -> Iterator[Entry]:
    """What a pattern matches but folders, and but what a batch wrote, in no order; folders that cannot be read as well.

    "**" does not follow links to folders, a name does. out: see `Results`. Raises OptionError where the folder in front
    cannot be read, or ".." stands behind a wildcard.
    """
    fixed, parts = _split(pattern)
    root, results = Path(*fixed), Results(out)
    if os.pardir in parts:
        raise OptionError(f"'{pattern}': '..' cannot stand behind a wildcard; write the path without it")
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
    """The parts before the first wildcard, and from there on."""
    parts = Path(pattern).parts
    fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    return parts[:fixed], parts[fixed:]


def _after(places: Places, parts: Sequence[str], name: str, *, linked: bool) -> Places:
    """The places to go on from behind an entry of this name."""
    found = []
    for place in places - {len(parts)}:
        if parts[place] == _ANY:
            found += [] if linked else [place]
        elif fnmatchcase(name, parts[place]):
            found.append(place + 1)
    return _reached(found, parts)


def _reached(places: Iterable[int], parts: Sequence[str]) -> Places:
    """These places, and those behind a "**", which may be no folder at all."""
    found = set(places)
    for place, part in enumerate(parts):
        if place in found and part == _ANY:
            found.add(place + 1)
    return frozenset(found)
