"""The local cache of the Hugging Face hub: what it holds of a repository, and a download if you ask for it.

camserve reads the folders of the cache itself: this needs neither huggingface_hub nor a request.
"""

import os
import re
from pathlib import Path

from camserve.errors import ModelError, NotInstalled, OptionError, first_line, shown

# OWNER/NAME of a repository; some old ones have no owner. @ and a branch, tag or commit may follow.
_REPOSITORY = re.compile(r"(?P<name>[\w.-]{1,96}(/[\w.-]{1,96})?)(@(?P<revision>[\w./-]{1,96}))?", re.ASCII)
FORMS = ("hf:", "timm:hf-hub:", "timm:hf_hub:")
# The files that a classifier may need. A download leaves out the weights of other frameworks.
_WANTED = ["*.json", "*.txt", "*.safetensors", "*.bin"]


def cache() -> Path:
    """The folder of the cache, which HF_HUB_CACHE or HF_HOME may set."""
    usual = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or usual, "hub"))


def kept(repository: str, file: str = "") -> Path | None:
    """The snapshot of "OWNER/NAME" or "OWNER/NAME@REVISION" in the cache, or one of its files; None if it is missing.

    Without a revision: the snapshot of the branch main, or the only snapshot.
    """
    match = _REPOSITORY.fullmatch(repository)
    if match is None:
        return None
    folder = cache() / f"models--{match['name'].replace('/', '--')}"
    revision = match["revision"] or "main"
    with_names = folder / "refs" / revision
    if with_names.is_file():
        revision = with_names.read_text(encoding="utf-8").strip()
    found = folder / "snapshots" / revision
    if not found.is_dir() and match["revision"] is None:
        only = [path for path in (folder / "snapshots").glob("*") if path.is_dir()]
        found = only[0] if len(only) == 1 else found
    path = found / file
    return path if found.is_dir() and path.exists() else None


def pinned(repository: str) -> str:
    """OWNER/NAME with the commit in the cache, so that a later download changes nothing."""
    found = kept(repository)
    return repository if found is None else f"{repository.partition('@')[0]}@{found.name}"


def files_in(folder: Path) -> list[Path]:
    """The files of a folder that a classifier may need. Weights are listed in one form only."""
    found = sorted(path for pattern in _WANTED for path in folder.glob(pattern) if path.is_file())
    if any(path.suffix == ".safetensors" for path in found):
        found = [path for path in found if ".bin" not in path.suffixes]
    return found


def repository_of(architecture: str) -> str | None:
    """FOLDER or OWNER/NAME of an architecture that is stored as on the hub; None for other architectures."""
    return next((architecture.removeprefix(form) for form in FORMS if architecture.startswith(form)), None)


def folder_of(name: str, base: Path) -> Path:
    """The folder that "FOLDER" or "OWNER/NAME" means: a path relative to `base`, else the cached repository.

    Raises ModelError.
    """
    if name and (base / name).is_dir():
        return base / name
    if (found := kept(name)) is not None:
        return found
    if _REPOSITORY.fullmatch(name) is None:
        raise ModelError(f"there is no folder {shown(name)}, and OWNER/NAME of a model hub is written in another form")
    raise ModelError(
        f"'{name}' is neither a folder nor in the local cache of the Hugging Face hub ({cache()}); nothing is "
        "downloaded unless you ask for it: download=True in Python, --download on the command line"
    )


def fetch(architecture: str) -> None:
    """Download the repository of "hf:OWNER/NAME" or "timm:hf-hub:OWNER/NAME" into the cache, unless it is there.

    Raises OptionError for other architectures, ModelError if the download fails, NotInstalled.
    """
    name = repository_of(architecture)
    if name is None:
        raise OptionError(
            f"there is nothing to download for {shown(architecture)}: only hf:OWNER/NAME and "
            "timm:hf-hub:OWNER/NAME can be downloaded"
        )
    if Path(name).is_dir() or kept(name) is not None:
        return
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        raise NotInstalled(
            f"the download of '{name}' needs the package huggingface_hub, which is not installed: pip install "
            '"camserve[hf]"'
        ) from None
    repository, _, revision = name.partition("@")
    try:
        huggingface_hub.snapshot_download(
            repository, revision=revision or None, cache_dir=cache(), allow_patterns=_WANTED
        )
    except Exception as error:  # the network fails; the repository does not exist or is private
        raise ModelError(f"cannot download '{name}': {type(error).__name__}: {first_line(error)}") from error
