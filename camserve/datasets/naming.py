"""What the results of an image are called: a name that is no other's, and that no folder's boundary is left by."""

import hashlib
import os
import re
from pathlib import Path, PurePath

_LONGEST_NAME = 180  # bytes; file systems take 255, and an ending and a temporary one are put behind
# Bytes, and folders: systems take paths of 4,096 bytes, and OUT and the folder of a kind are put in front.
_LONGEST_PATH, _DEEPEST = 1000, 100
_LOOKS_WRITTEN = re.compile(r"\.(jpg|png|webp|npy)=*$", re.IGNORECASE)


def legible(path: str) -> str:
    """A path in letters that can be written: bytes that are no UTF-8 become the sign of a letter that is lost."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def name_of(path: Path, root: Path) -> str:
    """What the results of a file are called: its path below `root`, made so that it is no other's and stays below.

    "=" marks what was changed: a path that leads elsewhere, and folders that end like a result, whose place a result
    could take. Names that are too long or no Unicode end in a hash; folders that are too many become one.
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
