"""What to write in place of names that other libraries take: of architectures, of published weights, of model hubs."""

import re
from pathlib import Path

import torch

from camserve.models.architectures import of_timm, of_torchvision
from camserve.models.architectures.hub_cache import kept, repository_of

_HUB = re.compile(r"(?P<prefix>(?:timm:)?(?:hf[-_]hub:)?)(?P<owner>[\w.-]{1,99})/(?P<name>[\w.-]{1,99})")
# What other libraries take where they are to download weights.
_ASKED = ("DEFAULT", "True", "pretrained", "imagenet", "IMAGENET1K")


def of_source(text: str) -> str:
    """What to write for a name that is no card's, as a sentence; "" where it is nobody else's either."""
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
    """What to write for weights that are no file, as a sentence; "" where that is nobody's name for any."""
    library = architecture.partition(":")[0]
    if library not in _LIBRARIES:
        return f"'{text}' is a name of torchvision's and timm's" if text.rpartition(".")[2] in _ASKED else ""
    found = _address(architecture, text)
    if found is None:
        return ""
    return f"'{text}' is {library}'s name of {found}: download that, and give weights=FILE"


def kept_weights(architecture: str, text: str) -> Path | None:
    """The file, if it is on this machine, of the weights that the library calls `text`, "DEFAULT" say."""
    found = _address(architecture, text)
    return None if found is None else _kept(architecture.partition(":")[0], found)


def _address(architecture: str, text: str) -> str | None:
    """Where the library publishes the weights that it calls `text`."""
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
    """Where the library itself keeps the file of that address, if it has it."""
    if library == "torchvision":
        found = Path(torch.hub.get_dir(), "checkpoints", address.rpartition("/")[2])
        return found if found.is_file() else None
    *_, owner, name, _, _, file = address.split("/")
    return kept(f"{owner}/{name}", file)


_LIBRARIES = {"torchvision": of_torchvision, "timm": of_timm}
