"""What to write instead of names from other libraries: of architectures, of published weights, of model hubs."""

import re
from pathlib import Path

import torch

from camserve.models.architectures import of_timm, of_torchvision
from camserve.models.architectures.hub_cache import kept, repository_of

_HUB = re.compile(r"(?P<prefix>(?:timm:)?(?:hf[-_]hub:)?)(?P<owner>[\w.-]{1,99})/(?P<name>[\w.-]{1,99})")
# Arguments of other libraries that ask for a download of weights.
_ASKED = ("DEFAULT", "True", "pretrained", "imagenet", "IMAGENET1K")


def of_source(text: str) -> str:
    """A sentence that says what to write instead of a name that no card has; "" if no library knows the name."""
    if repository_of(text) is not None:
        return f"`camserve add {text}` makes a card of it, which has a name"
    hub = _HUB.fullmatch(text)
    if hub and not Path(hub["owner"]).is_dir():
        return _of_hub(hub)
    knowing = [library for library, module in _LIBRARIES.items() if module.knows(text)]
    if not knowing:
        return ""
    forms = " or ".join(f"'{library}:{text}'" for library in knowing)
    return (
        f"'{text}' is an architecture of {' and '.join(knowing)}: write {forms}, with weights=FILE; or `camserve add "
        f"FILE --architecture {knowing[0]}:{text}`"
    )


def of_weights(architecture: str, text: str) -> str:
    """A sentence that says what to write for weights that are not a file; "" if no library has such a name."""
    library = architecture.partition(":")[0]
    if library not in _LIBRARIES:
        return f"'{text}' is a name of torchvision's and timm's" if text.rpartition(".")[2] in _ASKED else ""
    found = _address(architecture, text)
    if found is None:
        return ""
    return f"'{text}' is {library}'s name of {found}: download that, and give weights=FILE"


def kept_weights(architecture: str, text: str) -> Path | None:
    """The file of the weights that the library calls `text`, such as "DEFAULT"; None if it is not on this machine."""
    found = _address(architecture, text)
    return None if found is None else _kept(architecture.partition(":")[0], found)


def _address(architecture: str, text: str) -> str | None:
    """The address of the weights that the library calls `text`."""
    library, _, name = architecture.partition(":")
    if library not in _LIBRARIES or repository_of(architecture) is not None:
        return None
    published: dict[str, str] = _LIBRARIES[library].published(name)
    asked = text.rpartition(".")[2]
    return published.get(asked, next(iter(published.values()), None) if asked in _ASKED else None)


def _of_hub(hub: "re.Match[str]") -> str:
    owner, name = hub["owner"], hub["name"]
    form = "timm:hf-hub" if owner == "timm" or hub["prefix"].startswith("timm") else "hf"
    return (
        f"'{owner}/{name}' looks like a name on the Hugging Face hub: write '{form}:{owner}/{name}', which is taken "
        "from the local cache, and downloaded into it only with download=True in Python, --download on the command line"
    )


def _kept(library: str, address: str) -> Path | None:
    """The file of that address in the library's own cache, if it is there."""
    if library == "torchvision":
        found = Path(torch.hub.get_dir(), "checkpoints", address.rpartition("/")[2])
        return found if found.is_file() else None
    *_, owner, name, _, _, file = address.split("/")
    return kept(f"{owner}/{name}", file)


_LIBRARIES = {"torchvision": of_torchvision, "timm": of_timm}
