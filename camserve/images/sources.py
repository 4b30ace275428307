"""The name and the encoded bytes of a photograph that is given as a path, bytes or a binary file."""

import os
import re
from typing import BinaryIO, cast

from camserve.errors import BodyTooLarge, ImageError
from camserve.system.files import open_file, reason


def base_name(source: object) -> str:
    """The file name of a path, open file or upload without its folder ("/" or "\\"); "image" if there is no name."""
    is_path = isinstance(source, str | os.PathLike)
    name = source if is_path else getattr(source, "filename", None) or getattr(source, "name", None)
    return re.split(r"[/\\]", str(name))[-1] if isinstance(name, str | os.PathLike) and str(name) else "image"


def encoded(source: object, name: str, max_bytes: int, *, local: bool = False) -> bytes:
    """All bytes of a path, bytes or a binary file. local: whether the limit is the one for local files.

    Raises BodyTooLarge for more than max_bytes, ImageError for a source that cannot be read or is empty.
    """
    try:
        data = _read(source, name, max_bytes)
    except BodyTooLarge as error:
        setting = "limits.local_megabytes" if local else "limits.body_megabytes"
        raise BodyTooLarge(f"{error} ({setting}). Try a smaller copy, or JPEG.") from None
    except (OSError, ValueError, TypeError) as error:  # TypeError: an object that is only similar to a path or file
        given = str(source) if isinstance(source, str | os.PathLike) else name
        hint = " URLs are not fetched: download it first." if "://" in given else " Check the path and permissions."
        raise ImageError(f"cannot read {given!r}: {reason(error)}.{hint}") from None
    if not data:
        read_before = hasattr(source, "seekable") and source.seekable() and cast(BinaryIO, source).tell() > 0
        hint = (
            "; a file object is read from its current position, now its end: try seek(0) first" if read_before else ""
        )
        raise ImageError(f"{name!r} is empty{hint}")
    return data


def _read(source: object, name: str, max_bytes: int) -> bytes:
    if isinstance(source, str | os.PathLike):
        with open_file(source) as file:
            _check_bytes(os.fstat(file.fileno()).st_size, name, max_bytes)
            return _read_stream(file, name, max_bytes)
    if isinstance(source, bytes | bytearray | memoryview):
        _check_bytes(memoryview(source).nbytes, name, max_bytes)
        return bytes(source)
    if hasattr(source, "read"):
        return _read_stream(cast(BinaryIO, source), name, max_bytes)
    raise ImageError(
        f"a {type(source).__name__} is not an image; allowed are a path, encoded bytes, a binary file object, a "
        "Pillow image or a uint8 array (H, W, 3). For a tensor (3, H, W) with values 0..1 try "
        "(255 * tensor).byte().permute(1, 2, 0).numpy()."
    )


def _read_stream(stream: BinaryIO, name: str, max_bytes: int) -> bytes:
    parts, count = [], 0
    while part := stream.read(2**20):
        if isinstance(part, str):
            raise ImageError(f"{name!r} is open as text; allowed are binary files: try open(..., 'rb')")
        parts.append(part)
        count += len(part)
        _check_bytes(count, name, max_bytes)
    return b"".join(parts)


def _check_bytes(count: int, name: str, max_bytes: int) -> None:
    if count > max_bytes:
        raise BodyTooLarge(f"{name!r} has {count / 2**20:.4g} MiB or more; allowed are {max_bytes / 2**20:.4g}")
