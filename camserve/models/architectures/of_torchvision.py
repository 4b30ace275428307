"""torchvision's networks, and the preprocessing that torchvision states. The only file that imports torchvision.

Classifiers, segmentation networks and detectors.
"""

from pathlib import Path
from typing import Any

from torch import nn

from camserve.errors import UnknownName
from camserve.models.architectures.brought import Brought

# Auxiliary heads answer only in training. transform_input: the published weights were trained with it, and so were
# weights fine-tuned from them. init_weights=False: skips the initialisation, which is slow and warns.
_INCEPTION = {"aux_logits": False, "transform_input": True, "init_weights": False}
_OPTIONS: dict[str, dict[str, Any]] = {"googlenet": _INCEPTION, "inception_v3": _INCEPTION}


def build(name: str, classes: int | None) -> nn.Module:
    """The untrained network of that name, for `classes` classes (classifiers: default 1000). Raises UnknownName."""
    from torchvision import models

    _check(name)
    options = _options(name)
    if classes is not None:
        options["num_classes"] = classes
    made: nn.Module = models.get_model(name, weights=None, **options)
    return made


def code(name: str) -> tuple[str, str]:
    """The line of the import, and the call that makes the network."""
    options = "".join(f", {key}={value!r}" for key, value in _options(name).items())
    return "from torchvision import models", f"models.get_model({name!r}{options})"


def defaults(name: str) -> dict[str, Any]:
    """The preprocessing of the weights that torchvision calls DEFAULT, in units of 0..255. Raises UnknownName."""
    from torchvision import models

    _check(name)
    return _input(models.get_model_weights(name).DEFAULT)


def _input(weights: Any) -> dict[str, Any]:
    preset = weights.transforms()
    if not hasattr(preset, "resize_size"):  # a detector resizes its pictures itself
        return {}
    (resized,) = preset.resize_size
    (size,) = getattr(preset, "crop_size", preset.resize_size)
    return {
        "size": size,
        "crop": size / resized,
        "mean": tuple(round(255 * value, 3) for value in preset.mean),
        "std": tuple(round(255 * value, 3) for value in preset.std),
        "resample": preset.interpolation.value,
    }


def brought(name: str, file: Path | None, sha256: str | None) -> Brought:
    """What torchvision states about the weights, if it published them; else the input of its DEFAULT weights.

    sha256: of the file; a published file's name contains its first digits. Raises UnknownName.
    """
    from torchvision import models

    _check(name)
    for weights in models.get_model_weights(name):
        published = weights.url.rpartition("/")[2]
        mark = published.rpartition("-")[2].partition(".")[0]
        if file is not None and file.name == published and mark and (sha256 or "").startswith(mark):
            return Brought(_input(weights), weights.meta.get("categories"))
    return Brought(defaults(name))


def knows(name: str) -> bool:
    """Whether torchvision has a network with that name."""
    return name in _known()


def published(name: str) -> dict[str, str]:
    """{name of weights: their address}, with DEFAULT first. Raises UnknownName."""
    from torchvision import models

    _check(name)
    weights = models.get_model_weights(name)
    return {"DEFAULT": weights.DEFAULT.url, **{one.name: one.url for one in weights}}


def _options(name: str) -> dict[str, Any]:
    fixed = {"image_size": defaults(name)["size"]} if name.startswith("vit_") else {}  # its position embedding fixes it
    of_parts: dict[str, Any] = {} if name in _classifiers() else {"weights_backbone": None}  # else it downloads them
    return {**_OPTIONS.get(name, {}), **fixed, **of_parts}


def _check(name: str) -> None:
    if name not in _known():
        raise UnknownName("torchvision classifier", name, _known())


def _classifiers() -> list[str]:
    from torchvision import models

    found: list[str] = models.list_models(module=models)
    return found


def _known() -> list[str]:
    from torchvision import models

    parts = models.segmentation, models.detection
    return [*_classifiers(), *(name for part in parts for name in models.list_models(module=part))]
