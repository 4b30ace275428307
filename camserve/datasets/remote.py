"""Images that are not on a disk of this machine. pyarrow's file systems read them, such as s3://, gs:// and hdfs://.

The query of a URI may say how to reach the system, such as ?endpoint_override=localhost:9000&scheme=http for your own
S3 server. Names in URIs are percent-encoded; characters that a URI cannot hold, such as spaces, may also be written
as they are.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from camserve.errors import BodyTooLarge, ImageError, OptionError
from camserve.system.files import open_file

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_LEGAL = ":/?#[]@!$&'()*+,;=%~"  # characters that a URI may hold besides letters, digits and -._
# One file system per bucket and connection; otherwise each image would need a new connection.
_SYSTEMS: "dict[tuple[str, str, str], FileSystem]" = {}


def is_remote(path: str) -> bool:
    """Whether a path is a URI."""
    return "://" in path


def inside_of(uri: str) -> str:
    """The path of a file in its system, as bucket/folder/name: without scheme, password and query."""
    parts = _split(uri)
    return unquote(parts.netloc.rpartition("@")[2] + parts.path).lstrip("/")


def local_path(uri: str) -> str | None:
    """The path of a file:// URI; None for other URIs, and for text that is not a URI."""
    parts = _split(uri)
    return unquote(parts.path) if parts.scheme == "file" and not parts.netloc else None


def without_password(uri: str) -> str:
    """The URI without its user and password, for others to read."""
    parts = _split(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def walk_remote(source: str) -> Iterator[tuple[str, Path, bool]]:
    """Yield (URI, path below the folder, True) for every file, and False for a folder that cannot be listed.

    Raises OptionError if the source itself cannot be listed.
    """
    system, root = _open(source)
    parts = urlsplit(source)
    for path, readable in _below(system, root, source):
        whole = f"{parts.path.rstrip('/')}/{quote(path.as_posix())}"
        yield urlunsplit(parts._replace(path=whole)), path, readable


def read_remote(uri: str, max_bytes: int) -> bytes:
    """Return all bytes of a file. Raises BodyTooLarge, ImageError."""
    try:
        local = local_path(uri)
        if local is None:
            system, path = _open(uri)
            with system.open_input_stream(path, compression=None) as stream:
                data = bytes(stream.read(max_bytes + 1))
        else:  # pyarrow would wait for a writer if the file is a pipe
            with open_file(local) as file:
                data = file.read(max_bytes + 1)
    except (OSError, ValueError, OptionError) as error:
        raise ImageError(f"cannot read '{uri}': {error}") from None
    if len(data) > max_bytes:
        raise BodyTooLarge(f"'{uri}' has more than {max_bytes / 2**20:.4g} MiB (limits.local_megabytes)")
    return data


def _open(uri: str) -> "tuple[FileSystem, str]":
    try:
        from pyarrow import fs
    except ImportError:
        needed = 'pip install "camserve[parquet]"'
        raise OptionError(f"reading '{uri}' needs pyarrow, which is not installed: {needed}") from None
    try:
        opened: Any = fs.FileSystem.from_uri(quote(uri, safe=_LEGAL))
    except (OSError, ValueError) as error:
        raise OptionError(f"'{uri}' cannot be opened: {error}; allowed are s3://, gs://, hdfs:// and file://") from None
    system, path = opened
    parts = urlsplit(uri)
    return _SYSTEMS.setdefault((parts.scheme, parts.netloc, parts.query), system), path


def _below(system: "FileSystem", root: str, source: str) -> Iterator[tuple[Path, bool]]:
    from pyarrow import fs

    ahead = [root]
    while ahead:
        folder = ahead.pop()
        try:
            entries = system.get_file_info(fs.FileSelector(folder))
        except (OSError, ValueError) as error:
            if folder == root:
                raise OptionError(f"cannot list '{source}': {error}") from None
            yield Path(folder).relative_to(root), False
            continue
        for entry in entries:
            if entry.type == fs.FileType.Directory:
                ahead.append(entry.path)
            elif entry.type == fs.FileType.File:
                yield Path(entry.path).relative_to(root), True


def _split(uri: str) -> SplitResult:
    """The parts of a URI, also of a broken one, such as one with half of an IPv6 address."""
    try:
        return urlsplit(uri)
    except ValueError:
        scheme, _, rest = uri.partition("://")
        place, slash, path = rest.partition("/")
        return SplitResult(scheme, place, slash + path, "", "")
