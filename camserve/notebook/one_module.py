"""Join several JavaScript modules into one, without other tools, because a widget gives the browser one text.

Each module becomes a function that runs once and returns its exports, so equal names in two modules do not clash. This
works for our own modules: an import is one line with names in braces and a relative path, and an export is a
declaration. Any other form raises ValueError.
"""

import re
from pathlib import Path

_IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "(\.[^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|function|class|const) (\w+))", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def one_module(entry: Path) -> str:
    """Return the module `entry` with all its direct and indirect imports. It exports only its default.

    Raises ValueError for an import or export of another form.
    """
    written: dict[Path, str] = {}
    body = _body(entry.resolve(), written)
    _check(entry, body.replace("\nexport default ", "\n"))
    return "\n".join([*written.values(), body])


def _body(path: Path, written: dict[Path, str]) -> str:
    """Return the text of a module; its imports now refer to the functions in `written`."""

    def taken(found: re.Match[str]) -> str:
        other = (path.parent / found[2]).resolve()
        if other not in written:
            wrapped = _wrapped(other, written)  # its own imports are written first
            written[other] = wrapped
        return f"const {{ {found[1]} }} = {_name(other)};"

    return _IMPORT.sub(taken, path.read_text(encoding="utf-8"))


def _wrapped(path: Path, written: dict[Path, str]) -> str:
    body = _body(path, written)
    exported = _EXPORT.findall(body)
    body = _EXPORT.sub("", body)
    _check(path, body)
    return f"const {_name(path)} = (() => {{\n{body}\nreturn {{ {', '.join(exported)} }};\n}})();\n"


def _name(path: Path) -> str:
    return f"module_{path.stem}"


def _check(path: Path, body: str) -> None:
    if left := _LEFT.search(body):
        raise ValueError(f"{path.name}: '{left[0]}' is not an import or export that one_module supports")
