"""Which files a language model may name: those in folders that were named when the server was started."""

from collections.abc import Sequence
from pathlib import Path

from camserve.errors import ImageError, OptionError, close_names, shown
from camserve.system.files import reason

# Names that an error offers, and entries of folders that are looked at for them.
_OFFERED, _LOOKED_AT = 20, 2000


class Reach:
    """Folders, links followed. Raises OptionError for what is no folder."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = [_folder(path) for path in folders]
        if not self.folders:
            raise OptionError("no folder was named; name one or more whose photographs may be explained")

    def file(self, given: str) -> Path:
        """The file that is meant, absolute, without links. Raises ImageError where it is not in one of the folders.

        given: absolute, or relative to any of the folders. What a link leads to must be in a folder, too. The error is
        the same for a file elsewhere and for none at all, so that it tells nothing about the rest of the disk.
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
            return "they hold no file"
        more = f" and {len(names) - _OFFERED} more" if len(names) > _OFFERED else ""
        return f"there are {', '.join(map(repr, names[:_OFFERED]))}{more}"

    def names(self) -> list[str]:
        """Files of the folders, relative to theirs, sorted; of a great many the first that the system lists."""
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
        raise OptionError(f"{shown(str(path))} is no folder: {why}") from None
    if not real.is_dir():
        raise OptionError(f"{shown(str(path))} is no folder; name the folder that the photographs are in")
    return real
