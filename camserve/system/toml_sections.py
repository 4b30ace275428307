"""Replace one section of a TOML file, and keep the rest byte for byte: comments, order, line ends."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camserve.errors import OutputError
from camserve.system.files import write_whole

# The next section's header with its empty lines and comments before it; or the end.
_NEXT = re.compile(r"(?:^[ \t]*(?:#.*)?\r?\n)*(?:^[ \t]*#.*\Z|^[ \t]*\[|\Z)", re.MULTILINE)


def write_section(path: Path, name: str, values: Mapping[str, Any]) -> None:
    """Write `[name]` with these values (strings, numbers, lists) into the TOML file at `path`, all or nothing.

    Raises OutputError if the file cannot be written, or if the rest of the file could not be kept.
    """
    try:
        before = path.read_bytes().decode()
    except OSError as error:
        raise OutputError(f"cannot read '{path}': {error.strerror}") from None
    after = with_section(before, name, values)
    if not _only_this_differs(before, after, name):
        lines = "; ".join(_lines(name, values))
        raise OutputError(f"cannot change [{name}] in '{path}' and keep the rest; write it by hand: {lines}")
    write_whole(path.resolve(), after.encode())  # write to the target of a link, so that the link stays


def with_section(text: str, name: str, values: Mapping[str, Any]) -> str:
    """Return `text` with the section in place of the section of that name, else at the end."""
    newline = "\r\n" if "\r\n" in text else "\n"
    section = newline.join(_lines(name, values)) + newline
    header = re.search(rf"^[ \t]*\[[ \t]*{re.escape(name)}[ \t]*\].*\n?", text, re.MULTILINE)
    if header is None:
        gap = "" if text.endswith("\n") or not text else newline
        return text + gap + (newline if text else "") + section
    following = _NEXT.search(text, header.end())
    assert following is not None  # the end of the text always matches
    return text[: header.start()] + section + text[following.start() :]


def _lines(name: str, values: Mapping[str, Any]) -> list[str]:
    return [f"[{name}]", *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())]


def _only_this_differs(before: str, after: str, name: str) -> bool:
    try:
        old, new = tomllib.loads(before), tomllib.loads(after)
    except tomllib.TOMLDecodeError:
        return False
    old.pop(name, None)
    new.pop(name, None)
    return old == new
