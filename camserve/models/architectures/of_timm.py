"""timm's models, and the preprocessing that its metadata states. The one place that imports timm, an extra."""

import re
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from camserve.errors import ModelError, UnknownName

_RESAMPLING = ("bilinear", "bicubic", "lanczos")


def build(name: str, classes: int | None) -> nn.Module:
    """The model of that name, such as "resnet18" or "resnet18.a1_in1k", untrained. Raises UnknownName, ModelError."""
    timm = _timm(name)
    _check_tag(timm, name)
    options = {} if classes is None else {"num_classes": classes}
    try:
        made: nn.Module = timm.create_model(name, pretrained=False, **options)
    except Exception as error:  # a tag it does not have, a model that takes no such option
        raise ModelError(f"timm cannot make '{name}': {error}") from error
    return made


def code(name: str) -> tuple[str, str]:
    """The line that imports what makes it, and the call that does."""
    return "import timm", f"timm.create_model({name!r})"


def defaults(name: str) -> dict[str, Any]:
    """The preprocessing of the weights that timm lists first for `name`, in units of 0..255; {} where it has none."""
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


def knows(name: str) -> bool:
    """Whether timm has such a model: looked up in its files, since importing it takes seconds."""
    spec, known = find_spec("timm"), re.compile(rf"^def {re.escape(name.partition('.')[0])}\(", re.MULTILINE)
    if spec is None or not spec.submodule_search_locations:
        return False
    files = Path(spec.submodule_search_locations[0], "models").glob("*.py")
    return any(known.search(path.read_text(encoding="utf-8")) for path in files)


def published(name: str) -> dict[str, str]:
    """{what it calls weights: their address on the model hub}, those it takes itself first. Raises UnknownName."""
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


def _timm(name: str) -> ModuleType:
    """timm, once it is sure that it knows `name` itself: it would look for some forms of names on a model hub."""
    try:
        import timm
    except ModuleNotFoundError:
        raise ModelError(
            f"'timm:{name}' needs the package timm, which is not installed: pip install \"camserve[timm]\""
        ) from None
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        last = name.rpartition("/")[2]  # as the hub calls it: timm/resnet18.a1_in1k
        raise UnknownName("timm model", name, known, close=[last] if last.partition(".")[0] in known else None)
    module: ModuleType = timm
    return module
