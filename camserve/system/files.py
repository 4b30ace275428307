"""Files that are read only where they are files, and written so that they are whole or not there at all."""

import errno
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from camserve.errors import OptionError, OutputError, shown

_PART = re.compile(r"\.[0-9a-f]{8}\.part$")
_PIECE = 2**20  # bytes that are copied at once
_OF_A_PATH = (OSError, ValueError)  # the second for a NUL in it
# Opening a pipe waits for whoever writes into it, unless it is told not to; and a terminal could become the process's.
_READING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
_WRITING = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)


def open_file(path: str | os.PathLike[str]) -> BufferedReader:
    """A file to read, never waiting for it. Raises OSError, also for a folder, a pipe, a socket or a device.

    What it is is looked at before it is opened, since opening a device can have effects, and again afterwards, since
    the path may lead to something else by then. A folder is opened all the same: the system says whether it may be.
    """
    found = os.stat(path)  # noqa: PTH116 - Path("") would be the folder one stands in
    if not stat.S_ISDIR(found.st_mode):
        _check_regular(found, path)
    file = os.open(path, os.O_RDONLY | _READING)
    try:
        _check_regular(os.fstat(file), path)
    except BaseException:
        os.close(file)
        raise
    return os.fdopen(file, "rb")


def given_path(name: str, value: object) -> Path:
    """A path as a caller gives it: text, or what is one. Raises OptionError that calls it `name`."""
    try:
        return Path(value)  # type: ignore[arg-type]
    except Exception:  # anybody's __fspath__
        raise OptionError(f"{name} {shown(value)} is no path; give text or a pathlib.Path") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` beside `path` and rename it there, so nobody ever sees a part of it.

    Makes the folders above. Raises OutputError (disk full, no permission) and leaves no part behind.
    """
    write_all(path.parent, {path.name: content})


def write_all(folder: Path, contents: Mapping[str, bytes | Path | Iterable[bytes]]) -> None:
    """Write several files, named relative to `folder`, together, put in place in the order given.

    contents: bytes, in one piece or in several for what is too large to hold, or another file to copy.
    Every byte is on the disk before the first file gets its name, so a full disk leaves what was there before;
    and the last file, a manifest, can be trusted to mean that the others are there. Raises OutputError, also where
    a name is that of a device or anything else that is no file; OptionError where the other file cannot be read.
    """
    paths, first = {name: os.path.join(folder, name) for name in contents}, secrets.randbits(32)  # noqa: PTH118 - quick
    for path in paths.values():
        check_target(path)
    parts = {
        name: f"{os.path.splitext(path)[0]}.{(first + place) % 2**32:08x}.part"  # noqa: PTH122
        for place, (name, path) in enumerate(paths.items())
    }
    with _blamed(f"cannot write into '{folder}'"):
        try:
            for name, part in parts.items():
                _put(part, contents[name])
            for name, part in parts.items():
                os.replace(part, paths[name])  # noqa: PTH105
        except BaseException:
            for part in parts.values():
                with suppress(FileNotFoundError):
                    os.unlink(part)  # noqa: PTH108
            raise


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where it is not there. Raises OutputError."""
    with _blamed(f"cannot write into '{folder}'", faults=_OF_A_PATH):
        folder.mkdir(parents=True, exist_ok=True)


def check_target(path: str | Path) -> None:
    """Raise OutputError where what has that name, links followed, is no file: a device would become one by writing."""
    with _blamed(f"cannot write '{path}'", faults=_OF_A_PATH), suppress(FileNotFoundError, NotADirectoryError):
        _check_regular(os.stat(path), path)  # noqa: PTH116


def check_folder(folder: Path) -> None:
    """Raise OutputError where nothing could be written into a folder, which may not be there yet. Leaves nothing there.

    A permission says little: root has them all, and nobody makes a file in /proc. So one without a name is tried.
    """
    with _blamed(f"cannot write into '{folder}'", faults=_OF_A_PATH):
        nearest = next(path for path in (folder, *folder.absolute().parents) if _is_there(path))
        if not nearest.is_dir():
            raise OutputError(f"cannot write into '{folder}': '{nearest}' is a file and no folder")
        longest = os.pathconf(nearest, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
        for part in folder.parts:
            if len(os.fsencode(part)) > longest:
                raise OutputError(f"cannot write into '{folder}': a name in it is longer than {longest} bytes")
    with _blamed(f"cannot write into '{folder}'", f" in '{nearest}'"), tempfile.TemporaryFile(dir=nearest):
        pass


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file to write piece by piece, of any size; it gets its name when the block ends, and is gone after an error.

    Makes the folders above. Raises OutputError, as `write_all`: what else the block does must raise no OSError.
    """
    check_target(path)
    part = path.with_suffix(f".{secrets.token_hex(4)}.part")
    with _blamed(f"cannot write '{path}'"):
        make_folder(path.parent)
        try:
            with part.open("wb") as file:
                yield file
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def sweep(folder: Path, below: Iterable[str]) -> None:
    """Remove what a killed process left half written in `folder`, and anywhere below these of its folders.

    Raises OutputError.
    """
    with _blamed(f"cannot clear '{folder}'"):
        for part in chain(folder.glob("*.part"), *((folder / name).rglob("*.part") for name in below)):
            if _PART.search(part.name):
                part.unlink()


def reason(error: Exception) -> str:
    """Why a file could not be read or written, in words."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


@contextmanager
def _blamed(what: str, where: str = "", faults: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """A fault of the place that is written to, as the error that says so."""
    try:
        yield
    except faults as error:
        raise OutputError(f"{what}: {reason(error)}{where}") from None


def _put(path: str, content: bytes | Path | Iterable[bytes]) -> None:
    pieces = _pieces(content) if isinstance(content, Path) else [content] if isinstance(content, bytes) else content
    try:
        file = os.open(path, _WRITING, 0o666)
    except FileNotFoundError:  # looked for only then: a folder is made once, and files are written all the time
        make_folder(Path(path).parent)
        file = os.open(path, _WRITING, 0o666)
    try:
        for piece in pieces:
            left = memoryview(piece)
            while left:
                left = left[os.write(file, left) :]  # less than all of it where the disk is nearly full
    finally:
        os.close(file)


def _pieces(path: Path) -> Iterator[bytes]:
    """The bytes of a file to copy, whose faults are its own and not those of where it goes."""
    try:
        with open_file(path) as file:
            while piece := file.read(_PIECE):
                yield piece
    except OSError as error:
        raise OptionError(f"cannot read '{path}': {reason(error)}") from None


def _is_there(path: Path) -> bool:
    """Whether there is something of that name. Raises OSError where that cannot be said, or a link leads nowhere."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_symlink():
            raise OSError(error.errno, "it is a link that leads nowhere") from None
        return False
    return True


def _check_regular(found: os.stat_result, path: str | os.PathLike[str]) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "device")
    raise OSError(errno.EINVAL, f"it is a {kind} and no file", os.fspath(path))
