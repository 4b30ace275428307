"""Read only regular files, and write files completely or not at all."""

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
_OF_A_PATH = (OSError, ValueError)  # ValueError: a NUL in the path
# Without these flags, opening a pipe waits for a writer, and opening a terminal can make it the process's terminal.
_READING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
_WRITING = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)


def open_file(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a file to read, without waiting. Raises OSError, also for a folder, a pipe, a socket or a device.

    The kind of file is checked before opening, because opening a device can have effects, and again afterwards, because
    the path may have changed. A folder is opened too, so that the system reports a missing permission.
    """
    found = os.stat(path)  # noqa: PTH116 - Path("") would be the current folder
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
    """Return the caller's text or path as a Path. Raises OptionError with `name`."""
    try:
        return Path(value)  # type: ignore[arg-type]
    except Exception:  # a user's __fspath__ can raise anything
        raise OptionError(f"{name} {shown(value)} is not a path; give text or a pathlib.Path") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` into a file beside `path` and rename it, so that a reader never sees a partial file.

    Makes missing parent folders. Raises OutputError (disk full, no permission) and leaves no partial file.
    """
    write_all(path.parent, {path.name: content})


def write_all(folder: Path, contents: Mapping[str, bytes | Path | Iterable[bytes]]) -> None:
    """Write several files together, named relative to `folder`. They get their names in the given order.

    contents: bytes, an iterable of bytes for large files, or another file to copy.
    Every byte is on the disk before the first file gets its name, so a full disk leaves the old files unchanged. If the
    last file, a manifest, exists, all other files exist. Raises OutputError, also if a name belongs to a device or
    anything else that is not a file; OptionError if the other file cannot be read.
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
    """Make a folder and its parents if they do not exist. Raises OutputError."""
    with _blamed(f"cannot write into '{folder}'", faults=_OF_A_PATH):
        folder.mkdir(parents=True, exist_ok=True)


def check_target(path: str | Path) -> None:
    """Raise OutputError if a path, links followed, exists and is not a file: writing would replace a device."""
    with _blamed(f"cannot write '{path}'", faults=_OF_A_PATH), suppress(FileNotFoundError, NotADirectoryError):
        _check_regular(os.stat(path), path)  # noqa: PTH116


def check_folder(folder: Path) -> None:
    """Raise OutputError if files cannot be written into a folder, which need not exist yet. Leaves nothing behind.

    Permissions are not enough: root has all permissions, but no user can make a file in /proc. So a file without a name
    is written as a test.
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
    """Open a file to write in pieces, of any size. It gets its name when the block ends; an error removes it.

    Makes missing parent folders. Raises OutputError as `write_all` does. Every OSError in the block becomes an
    OutputError, so other code in the block must not raise OSError.
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
    """Remove partial files of a killed process in `folder`, and anywhere below these of its folders.

    Raises OutputError.
    """
    with _blamed(f"cannot clear '{folder}'"):
        for part in chain(folder.glob("*.part"), *((folder / name).rglob("*.part") for name in below)):
            if _PART.search(part.name):
                part.unlink()


def reason(error: Exception) -> str:
    """Return as text why a file could not be read or written."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


@contextmanager
def _blamed(what: str, where: str = "", faults: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """Turn an error of the place that is written to into OutputError."""
    try:
        yield
    except faults as error:
        raise OutputError(f"{what}: {reason(error)}{where}") from None


def _put(path: str, content: bytes | Path | Iterable[bytes]) -> None:
    pieces = _pieces(content) if isinstance(content, Path) else [content] if isinstance(content, bytes) else content
    try:
        file = os.open(path, _WRITING, 0o666)
    except FileNotFoundError:  # make the folder only now: files are written more often than folders
        make_folder(Path(path).parent)
        file = os.open(path, _WRITING, 0o666)
    try:
        for piece in pieces:
            left = memoryview(piece)
            while left:
                left = left[os.write(file, left) :]  # write may write only a part if the disk is nearly full
    finally:
        os.close(file)


def _pieces(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file to copy. Its errors are OptionError: the target is not the cause."""
    try:
        with open_file(path) as file:
            while piece := file.read(_PIECE):
                yield piece
    except OSError as error:
        raise OptionError(f"cannot read '{path}': {reason(error)}") from None


def _is_there(path: Path) -> bool:
    """Whether a path exists. Raises OSError if that cannot be checked, or if a link leads nowhere."""
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
