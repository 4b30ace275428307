"""timm's models, and the preprocessing that timm states. The only file that imports timm, an extra."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from camserve.errors import ModelError, UnknownName, first_line
from camserve.models.architectures.brought import Brought, names_given
from camserve.models.labels import imagenet

_RESAMPLING = ("bilinear", "bicubic", "lanczos")


def build(name: str, classes: int | None) -> nn.Module:
    """The model of that name, such as "resnet18" or "resnet18.a1_in1k", untrained. Raises UnknownName, ModelError."""
    timm = _timm(name)
    _check_tag(timm, name)
    options = {} if classes is None else {"num_classes": classes}
    try:
        made: nn.Module = timm.create_model(name, pretrained=False, **options)
    except Exception as error:  # an unknown tag, or a model without this option
        raise ModelError(f"timm cannot make '{name}': {error}") from error
    return made


def code(name: str) -> tuple[str, str]:
    """The line of the import, and the call that makes the model."""
    return "import timm", f"timm.create_model({name!r})"


def defaults(name: str) -> dict[str, Any]:
    """The preprocessing of the first weights that timm lists for `name`, in units of 0..255; {} if there is none."""
    stated = _timm(name).get_pretrained_cfg(name, allow_unregistered=False)
    if stated is None:
        return {}
    height, width = stated.input_size[-2:]
    known = {"resample": stated.interpolation} if stated.interpolation in _RESAMPLING else {}
    return known | {
        "size": width if width == height else (height, width),
        "crop": stated.crop_pct,
        "mean": tuple(round(255 * value, 3) for value in stated.mean),
        "std": tuple(round(255 * value, 3) for value in stated.std),
    }


def brought(name: str, file: Path | None, sha256: str | None) -> Brought:
    """What timm states for the weights that it lists first for `name`, or what config.json beside the file states.

    Raises UnknownName, ModelError.
    """
    beside = None if file is None else file.parent / "config.json"
    if file is not None and file.name.startswith("model.") and beside is not None and beside.is_file():
        with suppress(OSError, ValueError):
            stated = json.loads(beside.read_text(encoding="utf-8"))
            if isinstance(stated, dict) and is_folder_of(stated):
                return brought_by_folder(stated)
    return Brought(defaults(name))


def input_of(stated: Mapping[str, Any]) -> dict[str, Any]:
    """The preprocessing that a pretrained_cfg states, with the steps of timm; {} for an empty one."""
    if not stated:
        return {}
    timm: Any = _imported("timm")
    found = timm.data.resolve_data_config(pretrained_cfg=dict(stated), args={"in_chans": 3})
    height, width = found["input_size"][-2:]
    made: dict[str, Any] = {
        "size": (height, width),
        "crop": found["crop_pct"],
        "mean": tuple(round(255 * value, 4) for value in found["mean"]),
        "std": tuple(round(255 * value, 4) for value in found["std"]),
    }
    if found["interpolation"] in _RESAMPLING:
        made["resample"] = found["interpolation"]
    large = tuple(math.floor(side / found["crop_pct"]) for side in (height, width))
    if found["crop_mode"] == "squash":
        made["resize"] = {"sides": large, "like": "torchvision"}
    elif found["crop_mode"] == "center" and height == width:
        made["resize"] = {"short": large[0], "like": "torchvision"}
    return made


def is_folder_of(stated: Mapping[str, Any]) -> bool:
    """Whether a config.json was written by timm."""
    return "architecture" in stated and "model_type" not in stated


def from_folder(place: Path) -> nn.Module:
    """The network in a folder that timm wrote for a model hub, with its weights. Raises ModelError."""
    timm = _imported(f"hf:{place}")
    try:
        made: nn.Module = timm.create_model(f"local-dir:{place}", pretrained=True)
    except Exception as error:  # an unknown architecture; files are missing or damaged
        raise ModelError(f"timm cannot load '{place}': {first_line(error)}") from error
    return made


def brought_by_folder(stated: Mapping[str, Any]) -> Brought:
    """What a config.json of timm states about the network beside it."""
    own = stated.get("pretrained_cfg") or {}
    return Brought(input_of({**stated, **own}), _labels({**stated, **own}))


def brought_by(module: nn.Module) -> Brought | None:
    """What a timm model that the user made states about itself; None for any other module."""
    stated = getattr(module, "pretrained_cfg", None)
    if not isinstance(stated, dict) or not any(kind.__module__.startswith("timm.") for kind in type(module).__mro__):
        return None
    return Brought(input_of(stated), _labels(stated))


def _labels(stated: Mapping[str, Any]) -> Sequence[str] | None:
    """The class names that it states, or ImageNet's names if the tag and the number of classes are ImageNet's."""
    names = stated.get("label_names")
    if isinstance(names, list | tuple):
        return names_given(list(map(str, names)))
    return imagenet() if "in1k" in str(stated.get("tag")) and stated.get("num_classes") == len(imagenet()) else None


def knows(name: str) -> bool:
    """Whether timm has such a model. We search its files because an import of timm takes seconds."""
    spec, known = find_spec("timm"), re.compile(rf"^def {re.escape(name.partition('.')[0])}\(", re.MULTILINE)
    if spec is None or not spec.submodule_search_locations:
        return False
    files = Path(spec.submodule_search_locations[0], "models").glob("*.py")
    return any(known.search(path.read_text(encoding="utf-8")) for path in files)


def published(name: str) -> dict[str, str]:
    """{name of weights: their address on the model hub}, with timm's default first. Raises UnknownName."""
    timm = _timm(name)
    base = name.partition(".")[0]
    tags = {tag.partition(".")[2]: tag for tag in timm.list_pretrained(f"{base}.*")}
    own = timm.get_pretrained_cfg(name, allow_unregistered=False)
    first = {own.tag: f"{base}.{own.tag}"} if own is not None and own.tag in tags else {}
    hub = "https://huggingface.co/timm/{}/resolve/main/model.safetensors"
    return {tag: hub.format(full) for tag, full in {**first, **tags}.items()}


def _check_tag(timm: ModuleType, name: str) -> None:
    """Raises UnknownName for a tag that the model does not have."""
    base, _, tag = name.partition(".")
    known = [full.partition(".")[2] for full in timm.list_pretrained(f"{base}.*")]
    if tag and known and tag not in known:
        raise UnknownName(f"tag of timm's {base}", tag, known)


def _imported(what: str) -> ModuleType:
    try:
        import timm
    except ModuleNotFoundError:
        raise ModelError(
            f"'{what}' needs the package timm, which is not installed: pip install \"camserve[timm]\""
        ) from None
    module: ModuleType = timm
    return module


def _timm(name: str) -> ModuleType:
    """timm, after a check that it knows `name` itself: timm would look for some names on a model hub."""
    timm = _imported(f"timm:{name}")
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        last = name.rpartition("/")[2]  # the hub's form: timm/resnet18.a1_in1k
        raise UnknownName("timm model", name, known, close=[last] if last.partition(".")[0] in known else None)
    return timm
