"""torchvision's networks, and the preprocessing that its metadata states. The one place that imports torchvision.

Classifiers, and the segmentation networks and detectors of its names.
"""

from pathlib import Path
from typing import Any

from torch import nn

from camserve.errors import UnknownName
from camserve.models.architectures.brought import Brought

# Auxiliary heads answer only in training. transform_input is what the published weights, and whatever was
# fine-tuned from them, were trained with. init_weights=False: the slow initialisation, which warns as well.
_INCEPTION = {"aux_logits": False, "transform_input": True, "init_weights": False}
_OPTIONS: dict[str, dict[str, Any]] = {"googlenet": _INCEPTION, "inception_v3": _INCEPTION}


def build(name: str, classes: int | None) -> nn.Module:
    """The network of that name, untrained, for `classes` classes (1000 of a classifier). Raises UnknownName."""
    from torchvision import models

    _check(name)
    options = _options(name)
    if classes is not None:
        options["num_classes"] = classes
    made: nn.Module = models.get_model(name, weights=None, **options)
    return made


def code(name: str) -> tuple[str, str]:
    """The line that imports what makes it, and the call that does."""
    options = "".join(f", {key}={value!r}" for key, value in _options(name).items())
    return "from torchvision import models", f"models.get_model({name!r}{options})"


def defaults(name: str) -> dict[str, Any]:
    """The preprocessing of the weights that torchvision calls DEFAULT, in units of 0..255. Raises UnknownName."""
    from torchvision import models

    _check(name)
    return _input(models.get_model_weights(name).DEFAULT)


def _input(weights: Any) -> dict[str, Any]:
    preset = weights.transforms()
    if not hasattr(preset, "resize_size"):  # of a detector, which brings its pictures to its input itself
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
    """What torchvision states of weights that it has published itself, else the input of those it calls DEFAULT.

    sha256: of the file, which its published name begins with. Raises UnknownName.
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
    """Whether it has a network of that name."""
    return name in _known()


def published(name: str) -> dict[str, str]:
    """{what it calls weights: their address}, those it calls DEFAULT first. Raises UnknownName."""
    from torchvision import models

    _check(name)
    weights = models.get_model_weights(name)
    return {"DEFAULT": weights.DEFAULT.url, **{one.name: one.url for one in weights}}


def _options(name: str) -> dict[str, Any]:
    fixed = {"image_size": defaults(name)["size"]} if name.startswith("vit_") else {}  # by its position embedding
    of_parts: dict[str, Any] = {} if name in _classifiers() else {"weights_backbone": None}  # or it would fetch them
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
