"""Files that are whole or not there at all."""

import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from camserve.errors import OutputError

_PART = re.compile(r"\.[0-9a-f]{8}\.part$")


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` beside `path` and rename it there, so nobody ever sees a part of it.

    Makes the folders above. Raises OutputError (disk full, no permission) and leaves no part behind.
    """
    write_all(path.parent, {path.name: content})


def write_all(folder: Path, contents: Mapping[str, bytes | Path | Iterable[bytes]]) -> None:
    """Write several files, named relative to `folder`, together, put in place in the order given.

    contents: bytes, in one piece or in several for what is too large to hold, or another file to copy.
    Every byte is on the disk before the first file gets its name, so a full disk leaves what was there before;
    and the last file, a manifest, can be trusted to mean that the others are there. Raises OutputError.
    """
    parts = {folder / name: (folder / name).with_suffix(f".{secrets.token_hex(4)}.part") for name in contents}
    try:
        try:
            for path, part in parts.items():
                part.parent.mkdir(parents=True, exist_ok=True)
                _put(part, contents[path.relative_to(folder).as_posix()])
            for path, part in parts.items():
                part.replace(path)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write into '{folder}': {error.strerror}") from None


def check_folder(folder: Path) -> None:
    """Raise OutputError where nothing could be written into a folder, which may not be there yet. Writes nothing."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise OutputError(f"cannot write into '{folder}': '{nearest}' is a file and no folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into '{folder}': no permission in '{nearest}'")


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file to write piece by piece, of any size; it gets its name when the block ends, and is gone after an error.

    Makes the folders above. Raises OutputError.
    """
    part = path.with_suffix(f".{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                yield file
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write '{path}': {error.strerror}") from None


def sweep(folder: Path) -> None:
    """Remove what a killed process left half written below `folder`. Raises OutputError."""
    try:
        for part in folder.rglob("*.part"):
            if _PART.search(part.name):
                part.unlink()
    except OSError as error:
        raise OutputError(f"cannot clear '{folder}': {error.strerror}") from None


def _put(path: Path, content: bytes | Path | Iterable[bytes]) -> None:
    if isinstance(content, Path):
        shutil.copyfile(content, path)
        return
    with path.open("wb") as file:
        file.writelines([content] if isinstance(content, bytes) else content)
