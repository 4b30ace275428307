"""Images that are not on a disk of this machine: whatever pyarrow's file systems read, such as s3://, gs:// and hdfs://.

A URI may say in its query how the system is reached, such as ?endpoint_override=localhost:9000&scheme=http for an S3 of
one's own. Names are percent-encoded in URIs; characters that no URI has, such as spaces, may also stand as they are.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from camserve.errors import BodyTooLarge, ImageError, OptionError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_LEGAL = ":/?#[]@!$&'()*+,;=%~"  # what may stand in a URI besides letters, digits and -._
# One a bucket and way to it: each new one would connect anew for each image.
_SYSTEMS: "dict[tuple[str, str, str], FileSystem]" = {}


def is_remote(path: str) -> bool:
    """Whether it is a URI."""
    return "://" in path


def inside_of(uri: str) -> str:
    """Where a file lies in its system, as bucket/folder/name: without scheme, password and query."""
    parts = urlsplit(uri)
    return unquote(parts.netloc.rpartition("@")[2] + parts.path).lstrip("/")


def without_password(uri: str) -> str:
    """The URI as others may read it: its user and password, where it has any, are left out."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def walk_remote(source: str) -> Iterator[tuple[str, Path]]:
    """The URI of every file below a folder, and its path relative to it. Raises OptionError where there is none."""
    system, root = _open(source)
    parts = urlsplit(source)
    try:
        for path in _below(system, root, root):
            whole = f"{parts.path.rstrip('/')}/{quote(path.as_posix())}"
            yield urlunsplit(parts._replace(path=whole)), path
    except OSError as error:
        raise OptionError(f"cannot list '{source}': {error}") from None


def read_remote(uri: str, max_bytes: int) -> bytes:
    """All the bytes of a file. Raises BodyTooLarge, ImageError."""
    try:
        system, path = _open(uri)
        with system.open_input_stream(path, compression=None) as stream:
            data = bytes(stream.read(max_bytes + 1))
    except (OSError, OptionError) as error:
        raise ImageError(f"cannot read '{uri}': {error}") from None
    if len(data) > max_bytes:
        raise BodyTooLarge(f"'{uri}' has more than {max_bytes / 2**20:.4g} MiB (limits.local_megabytes)")
    return data


def _open(uri: str) -> "tuple[FileSystem, str]":
    try:
        from pyarrow import fs
    except ImportError:
        needed = 'pip install "camserve[parquet]"'
        raise OptionError(f"'{uri}' is read by pyarrow, which is not installed: {needed}") from None
    try:
        opened: Any = fs.FileSystem.from_uri(quote(uri, safe=_LEGAL))
    except (OSError, ValueError) as error:
        raise OptionError(f"'{uri}' cannot be opened: {error}; allowed are s3://, gs://, hdfs:// and file://") from None
    system, path = opened
    parts = urlsplit(uri)
    return _SYSTEMS.setdefault((parts.scheme, parts.netloc, parts.query), system), path


def _below(system: "FileSystem", folder: str, root: str) -> Iterator[Path]:
    from pyarrow import fs

    for entry in system.get_file_info(fs.FileSelector(folder)):
        if entry.type == fs.FileType.Directory:
            yield from _below(system, entry.path, root)
        elif entry.type == fs.FileType.File:
            yield Path(entry.path).relative_to(root)
