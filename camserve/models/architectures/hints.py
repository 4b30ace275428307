"""What to write in place of names that other libraries take: of architectures, of published weights, of model hubs."""

import os
import re
from pathlib import Path

import torch

from camserve.models.architectures import of_timm, of_torchvision

_HUB = re.compile(r"(?P<prefix>(?:timm:)?(?:hf[-_]hub:)?)(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)")
# What other libraries take where they are to download weights.
_ASKED = ("DEFAULT", "True", "pretrained", "imagenet", "IMAGENET1K")


def of_source(text: str) -> str:
    """What to write for a name that is no card's, as a sentence; "" where it is nobody else's either."""
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
    library, _, name = architecture.partition(":")
    asked = text.rpartition(".")[2]
    if library not in _LIBRARIES:
        return f"'{text}' is a name of torchvision's and timm's" if asked in _ASKED else ""
    published = _LIBRARIES[library].published(name)
    found = published.get(asked, next(iter(published.values()), None) if asked in _ASKED else None)
    if found is None:
        return ""
    here = _kept(library, found)
    if here is not None:
        return f"'{text}' is {library}'s name of a file that is on this machine: give weights='{here}'"
    return f"'{text}' is {library}'s name of {found}: download that, and give weights=FILE"


def _of_hub(hub: "re.Match[str]") -> str:
    owner, name = hub["owner"], hub["name"]
    page = f"https://huggingface.co/{owner}/{name}"
    start = f"'{owner}/{name}' looks like a name on the Hugging Face hub, and camserve downloads nothing"
    if owner == "timm":
        here = _kept("timm", f"{page}/resolve/main/model.safetensors")
        file = f"'{here}'" if here else f"FILE, the model.safetensors of {page}"
        return f"{start}: write 'timm:{name}' with weights={file}"
    return (
        f"{start}: load it with its own library, as in transformers.AutoModelForImageClassification.from_pretrained("
        f"'{owner}/{name}'), and give camserve.load that module"
    )


def _kept(library: str, address: str) -> Path | None:
    """Where the library itself keeps the file of that address, if it has it."""
    if library == "torchvision":
        found = Path(torch.hub.get_dir(), "checkpoints", address.rpartition("/")[2])
        return found if found.is_file() else None
    *_, owner, name, _, _, file = address.split("/")
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    return next(iter(sorted(hub.glob(f"models--{owner}--{name}/snapshots/*/{file}"))), None)


_LIBRARIES = {"torchvision": of_torchvision, "timm": of_timm}
