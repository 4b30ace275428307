"""What the results of an image are called: a name that is no other's, and that no folder's boundary is left by."""

import hashlib
import os
import re
from pathlib import Path, PurePath

_LONGEST_NAME = 180  # bytes; file systems take 255, and an ending and a temporary one are put behind
_LOOKS_WRITTEN = re.compile(r"\.(jpg|png|webp|npy)=*$", re.IGNORECASE)


def name_of(path: Path, root: Path) -> str:
    """What the results of a file are called: its path below `root`, made so that it is no other's and stays below.

    "=" marks what was changed: a path that leads elsewhere, and folders that end like a result, whose place a result
    could take. Names that are too long or no Unicode end in a hash.
    """
    absolute = path.absolute()
    try:
        parts = absolute.relative_to(root.absolute()).parts
    except ValueError:
        parts = absolute.parts
    return "/".join([*map(_folder_name, parts[:-1]), _file_name(parts[-1])])


def _folder_name(part: str) -> str:
    if part == os.pardir:
        return "=up"
    if PurePath(part).is_absolute():
        return "=root"
    changed = f"={part}" if part.startswith("=") else part
    return _file_name(f"{changed}=" if _LOOKS_WRITTEN.search(changed) else changed)


def _file_name(part: str) -> str:
    encoded = os.fsencode(part)
    text = encoded.decode("utf-8", "replace")
    if text == part and len(encoded) <= _LONGEST_NAME:
        return part
    kept = PurePath(text).stem.encode()[: _LONGEST_NAME - 60].decode("utf-8", "ignore")
    return f"{kept}={hashlib.sha256(encoded).hexdigest()[:16]}{PurePath(text).suffix[:10]}"
