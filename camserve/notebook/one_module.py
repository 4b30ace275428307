"""Several modules of JavaScript as one, without other tools: a widget gives the browser one text.

Each module becomes a function that runs once and returns what the module exports, so that names of two modules do not
meet. This is for our own modules: an import is one line of names in braces from a relative path, and what is exported
is a declaration. Anything else is a ValueError.
"""

import re
from pathlib import Path

_IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "(\.[^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|function|class|const) (\w+))", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def one_module(entry: Path) -> str:
    """The module `entry` with all that it imports, and all that these import. It exports its default alone.

    Raises ValueError for an import or export of another form.
    """
    written: dict[Path, str] = {}
    body = _body(entry.resolve(), written)
    _check(entry, body.replace("\nexport default ", "\n"))
    return "\n".join([*written.values(), body])


def _body(path: Path, written: dict[Path, str]) -> str:
    """The text of a module, whose imports have become names of functions in `written`."""

    def taken(found: re.Match[str]) -> str:
        other = (path.parent / found[2]).resolve()
        if other not in written:
            wrapped = _wrapped(other, written)  # what it imports itself is written first
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
        raise ValueError(f"{path.name}: '{left[0]}' is no import or export that can be made one module of")
