"""The names of an image's results: unique in a batch, and never outside the folder of the results."""

import hashlib
import os
import re
from pathlib import Path, PurePath

_LONGEST_NAME = 180  # bytes; file systems take 255, and two endings are added, one of them temporary
# Bytes, and folders. Systems take paths of 4,096 bytes, which must also hold OUT and the folder of a kind.
_LONGEST_PATH, _DEEPEST = 1000, 100
_LOOKS_WRITTEN = re.compile(r"\.(jpg|png|webp|npy)=*$", re.IGNORECASE)


def legible(path: str) -> str:
    """A path that can be encoded as UTF-8: bytes that are not UTF-8 become the replacement character."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def name_of(path: Path, root: Path) -> str:
    """The name of a file's results: its path below `root`, changed where needed so that it is unique and stays below.

    "=" marks changes: in a path that leads outside, and in a folder whose name ends like a result, because a result
    could have the same path. Names that are too long or not Unicode end in a hash; a path of too many folders becomes
    one folder.
    """
    absolute = path.absolute()
    try:
        parts = absolute.relative_to(root.absolute()).parts or (os.curdir,)
    except ValueError:
        parts = absolute.parts
    name = "/".join([*map(_folder_name, parts[:-1]), _file_name(parts[-1])])
    if len(name.encode()) <= _LONGEST_PATH and len(parts) <= _DEEPEST:
        return name
    return f"=deep/{_hash('/'.join(parts[:-1]))}/{_file_name(parts[-1])}"


def _folder_name(part: str) -> str:
    if part == os.pardir:
        return "=up"
    changed = f"={part}" if part.startswith("=") else part
    return _file_name(f"{changed}=" if _LOOKS_WRITTEN.search(changed) else changed)


def _file_name(part: str) -> str:
    if PurePath(part).is_absolute():
        return "=root"
    encoded = os.fsencode(part)
    text = encoded.decode("utf-8", "replace")
    if text == part and len(encoded) <= _LONGEST_NAME:
        return part
    kept = PurePath(text).stem.encode()[: _LONGEST_NAME - 60].decode("utf-8", "ignore")
    return f"{kept}={_hash(part)}{PurePath(text).suffix[:10]}"


def _hash(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
