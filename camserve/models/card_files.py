"""What a card may read: files in its own folder or directly beside it, and of installed packages.

Anything else is refused unless `models.shared` names the folder, since a card may come from somebody else than the
operator: a list of labels is shown to whoever asks, so a card could show any text on the disk.
"""

import hashlib
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from camserve.errors import ModelError, NotInstalled, first_line, shown
from camserve.models.compiled.model_file import files_of
from camserve.models.labels import checked_names
from camserve.system.files import open_file, reason

PACKAGE = "package:"
# Bytes of a card and of a list of labels; a list of a million names has some 30 MB.
MOST_OF_CARD, MOST_OF_LABELS = 2**20, 2**26
# What a card may read.
_ALLOWED = (
    f"allowed are names of files in its folder or directly beside that, {PACKAGE}NAME/path, and what lies in a folder "
    "of the setting models.shared"
)
# Of an installed package: what can be imported. Names with dots lie in their parent.
_IMPORTABLE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


def is_there(path: Path) -> bool:
    """Whether it is a file that may be looked at; also for what no file can be called."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def resolve_file(
    reference: str, card: Path, shared: Iterable[Path] = (), install: str | None = None, *, key: str = "weights"
) -> Path:
    """The file that a card means.

    reference: relative to the card at `card`, or "package:NAME/path". shared: folders of which it may be, too. install:
    the command to offer where a package is missing. key: of the card, where it says so. Raises ModelError saying what
    is wrong, what is allowed, and how to get what is missing; NotInstalled.
    """
    said = f"the card '{card}' is wrong: {key} = {shown(reference)}"
    if reference.startswith(PACKAGE):
        return package_file(reference, f"'{card.parent.name}'", install, said=said)
    path = card.parent / reference
    if not _is_within_reach(path, card.parent, shared):
        raise ModelError(f"{said} is no file that this card may read; {_ALLOWED}")
    if not is_there(path):
        raise ModelError(f"'{card.parent.name}' needs the file '{path}', which does not exist ({key} of its card)")
    return path


def check_model_folder(said: str, path: Path, card: Path, shared: Iterable[Path]) -> None:
    """Raises ModelError for a folder of a model, `said` so in the card at `card`, that it may not read."""
    if not (_is_within_reach(path, card.parent, shared) and _is_within_reach(path / "config.json", path, shared)):
        raise ModelError(
            f"the card '{card}' is wrong: architecture = {shown(said)} is no folder that this card may read; {_ALLOWED}"
        )


def package_file(reference: str, needs: str = "camserve", install: str | None = None, *, said: str = "") -> Path:
    """The file that "package:NAME/path" means. needs: who needs it. said: what is wrong, begun. Raises ModelError."""
    package, _, inside = reference.removeprefix(PACKAGE).partition("/")
    said = said or shown(reference)
    if not _IMPORTABLE.fullmatch(package) or not inside or ".." in Path(inside).parts or Path(inside).is_absolute():
        raise ModelError(f"{said} should be {PACKAGE}NAME/path, a file inside an installed package")
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:
        spec = None
    except Exception as error:  # the parent of a name with dots is imported
        raise ModelError(f"{said}: the package cannot be imported: {first_line(error)}") from None
    if spec is None or not spec.submodule_search_locations:
        how = install or f"pip install {package}"
        raise NotInstalled(f"{needs} needs the package '{package}', which is not installed: {how}")
    path = Path(spec.submodule_search_locations[0]) / inside
    if not is_there(path):
        raise ModelError(f"{said}: the package '{package}' has no such file")
    return path


def _is_within_reach(path: Path, folder: Path, shared: Iterable[Path]) -> bool:
    """Whether a path, links followed, is in the card's folder, directly beside that, or in a shared folder."""
    try:
        real, own = path.resolve(), folder.resolve()
        return real.is_relative_to(own) or real.parent == own.parent or any(map(real.is_relative_to, _real(shared)))
    except (OSError, RuntimeError, ValueError):  # too long, a loop of links, a zero byte
        return False


def _real(folders: Iterable[Path]) -> list[Path]:
    return [folder.resolve() for folder in folders]


def read_text(path: Path, what: str, most: int, encoding: str = "utf-8") -> str:
    """The text of a file of at most so many bytes. what: the file, as errors call it. Raises ModelError."""
    try:
        with open_file(path) as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {what}: {reason(error)}") from None
    if len(content) > most:
        raise ModelError(f"{what} may have {most // 2**20} MB at most")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise ModelError(f"{what} must be UTF-8 text") from None


def read_labels(path: Path) -> tuple[str, ...]:
    """The class names, one a line in the order of the logits; empty lines at the end do not count. Raises ModelError.

    Lines end with a line feed, a carriage return or both; other separators of Unicode may be part of a name.
    """
    # editors of some systems begin a file with a mark
    text = read_text(path, f"the labels '{path}'", MOST_OF_LABELS, "utf-8-sig")
    lines = re.split("\r\n|\n|\r", text.rstrip()) if text.strip() else ()
    return checked_names(tuple(line.strip() for line in lines))


def check_sha256(path: Path, expected: str | None) -> str:
    """The file's SHA-256. Raises ModelError where it cannot be read, or a card states another."""
    try:
        with open_file(path) as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read the weights '{path.name}': {reason(error)}") from None
    if expected is not None and actual != expected.lower():
        raise ModelError(
            f"'{path.name}' has sha256 {actual}, but the card states {shown(expected)}: the file is damaged or another "
            "one. Install it again, or correct the card if the change is meant."
        )
    return actual


def check_model_file(path: Path, expected: str | None) -> str:
    """The SHA-256 of a model file, and, where it keeps weights in other files, of all together.

    expected: of the file itself. Raises ModelError as `check_sha256`.
    """
    own, *others = files_of(path)
    hashes = [check_sha256(own, expected), *(check_sha256(other, None) for other in others)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()
