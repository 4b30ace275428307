"""What a card may read: files in its own folder or directly beside it, and files of installed packages.

Any other file is refused, unless the setting `models.shared` names its folder. A card may come from somebody else than
the operator, and labels are shown to every user: otherwise a card could show any text on the disk.
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
# Most bytes of a card and of a list of labels; a list of a million names has about 30 MB.
MOST_OF_CARD, MOST_OF_LABELS = 2**20, 2**26
# Part of errors: what a card may read.
_ALLOWED = (
    f"allowed are files in its folder or directly beside the folder, {PACKAGE}NAME/path, and files in a folder "
    "of the setting models.shared"
)
# Names of packages that can be imported. A name with dots is inside its parent.
_IMPORTABLE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


def is_there(path: Path) -> bool:
    """Whether the file exists; False also for a path that cannot be checked."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def resolve_file(
    reference: str, card: Path, shared: Iterable[Path] = (), install: str | None = None, *, key: str = "weights"
) -> Path:
    """The file that a card means.

    reference: relative to the card at `card`, or "package:NAME/path". shared: more folders that it may read. install:
    the command to suggest if a package is missing. key: the key of the card, for errors. Raises ModelError that says
    what is wrong, what is allowed, and how to get what is missing; NotInstalled.
    """
    said = f"the card '{card}' is wrong: {key} = {shown(reference)}"
    if reference.startswith(PACKAGE):
        return package_file(reference, f"'{card.parent.name}'", install, said=said)
    path = card.parent / reference
    if not _is_within_reach(path, card.parent, shared):
        raise ModelError(f"{said} is not a file that this card may read; {_ALLOWED}")
    if not is_there(path):
        raise ModelError(f"'{card.parent.name}' needs the file '{path}', which does not exist ({key} of its card)")
    return path


def check_model_folder(said: str, path: Path, card: Path, shared: Iterable[Path]) -> None:
    """Raise ModelError if the card at `card` may not read the folder `path`, which it writes as `said`."""
    if not (_is_within_reach(path, card.parent, shared) and _is_within_reach(path / "config.json", path, shared)):
        raise ModelError(
            f"the card '{card}' is wrong: architecture = {shown(said)} is not a folder that this card may read; "
            f"{_ALLOWED}"
        )


def package_file(reference: str, needs: str = "camserve", install: str | None = None, *, said: str = "") -> Path:
    """The file that "package:NAME/path" means. needs: who needs it. said: start of the error. Raises ModelError."""
    package, _, inside = reference.removeprefix(PACKAGE).partition("/")
    said = said or shown(reference)
    if not _IMPORTABLE.fullmatch(package) or not inside or ".." in Path(inside).parts or Path(inside).is_absolute():
        raise ModelError(f"{said} should be {PACKAGE}NAME/path, a file inside an installed package")
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:
        spec = None
    except Exception as error:  # the parent of a name with dots is imported, which may raise anything
        raise ModelError(f"{said}: the package cannot be imported: {first_line(error)}") from None
    if spec is None or not spec.submodule_search_locations:
        how = install or f"pip install {package}"
        raise NotInstalled(f"{needs} needs the package '{package}', which is not installed: {how}")
    path = Path(spec.submodule_search_locations[0]) / inside
    if not is_there(path):
        raise ModelError(f"{said}: the package '{package}' has no such file")
    return path


def _is_within_reach(path: Path, folder: Path, shared: Iterable[Path]) -> bool:
    """Whether a path, after its links, is in the card's folder, directly beside that folder, or in a shared folder."""
    try:
        real, own = path.resolve(), folder.resolve()
        return real.is_relative_to(own) or real.parent == own.parent or any(map(real.is_relative_to, _real(shared)))
    except (OSError, RuntimeError, ValueError):  # too long, a loop of links, a zero byte
        return False


def _real(folders: Iterable[Path]) -> list[Path]:
    return [folder.resolve() for folder in folders]


def read_text(path: Path, what: str, most: int, encoding: str = "utf-8") -> str:
    """The text of a file of at most `most` bytes. what: the file's name in errors. Raises ModelError."""
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
    """The class names, one a line in the order of the logits; empty lines at the end are ignored. Raises ModelError.

    Lines end with a line feed, a carriage return or both; other line separators of Unicode may be part of a name.
    """
    # some editors write a byte order mark
    text = read_text(path, f"the labels '{path}'", MOST_OF_LABELS, "utf-8-sig")
    lines = re.split("\r\n|\n|\r", text.rstrip()) if text.strip() else ()
    return checked_names(tuple(line.strip() for line in lines))


def check_sha256(path: Path, expected: str | None) -> str:
    """The file's SHA-256. Raises ModelError if it cannot be read, or if it differs from the card's."""
    try:
        with open_file(path) as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read the weights '{path.name}': {reason(error)}") from None
    if expected is not None and actual != expected.lower():
        raise ModelError(
            f"'{path.name}' has sha256 {actual}, but the card states {shown(expected)}: the file is damaged or a "
            "different one. Install it again, or correct the card if you changed the file."
        )
    return actual


def check_model_file(path: Path, expected: str | None) -> str:
    """The SHA-256 of a model file; if its weights are in other files, a SHA-256 of all files together.

    expected: of the file itself. Raises ModelError as `check_sha256`.
    """
    own, *others = files_of(path)
    hashes = [check_sha256(own, expected), *(check_sha256(other, None) for other in others)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()
