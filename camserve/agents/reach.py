"""The files that a language model may name: those in the folders that were named at the start of the server."""

from collections.abc import Sequence
from pathlib import Path

from camserve.errors import ImageError, OptionError, close_names, shown
from camserve.system.files import reason

# The most names that an error offers, and the most entries of a folder that it looks at to find them.
_OFFERED, _LOOKED_AT = 20, 2000


class Reach:
    """The folders of a server, with links followed. Raises OptionError for a path that is not a folder."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = [_folder(path) for path in folders]
        if not self.folders:
            raise OptionError("no folder was given; give one or more folders of photographs")

    def file(self, given: str) -> Path:
        """Return the absolute path of a file, without links. Raises ImageError if it is not in one of the folders.

        given: absolute, or relative to any of the folders. The target of a link must also be in one of the folders. A
        file outside and a missing file give the same error, so that it tells nothing about the rest of the disk.
        """
        for folder in self.folders:
            try:
                path = (folder / given).resolve()
                if path.is_relative_to(folder) and path.is_file():
                    return path
            except (OSError, RuntimeError, ValueError):  # too long, a loop of links, a zero byte
                continue
        raise ImageError(f"there is no file {shown(given)} in the folders of this server; {self._offer(given)}")

    def _offer(self, given: str) -> str:
        names = self.names()
        close = close_names(given, names)
        if close:
            return f"did you mean {', '.join(map(repr, close))}?"
        if not names:
            return "they hold no files"
        more = f" and {len(names) - _OFFERED} more" if len(names) > _OFFERED else ""
        return f"there are {', '.join(map(repr, names[:_OFFERED]))}{more}"

    def names(self) -> list[str]:
        """The sorted files of the folders, as relative paths; of a large folder, only the first _LOOKED_AT entries."""
        found: set[str] = set()
        for folder in self.folders:
            for looked_at, path in enumerate(folder.rglob("*")):
                if looked_at == _LOOKED_AT:
                    break
                if path.is_file() and path.resolve().is_relative_to(folder):
                    found.add(path.relative_to(folder).as_posix())
        return sorted(found)


def _folder(path: Path) -> Path:
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else "it cannot be followed"
        raise OptionError(f"{shown(str(path))} is not a folder: {why}") from None
    if not real.is_dir():
        raise OptionError(f"{shown(str(path))} is not a folder; give the folder of the photographs")
    return real
