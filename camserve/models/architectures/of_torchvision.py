"""torchvision's classifiers, and the preprocessing that its metadata states. The one place that imports torchvision."""

from typing import Any

from torch import nn

from camserve.errors import UnknownName

# Auxiliary heads answer only in training. transform_input is what the published weights, and whatever was
# fine-tuned from them, were trained with. init_weights=False: the slow initialisation, which warns as well.
_INCEPTION = {"aux_logits": False, "transform_input": True, "init_weights": False}
_OPTIONS: dict[str, dict[str, Any]] = {"googlenet": _INCEPTION, "inception_v3": _INCEPTION}


def build(name: str, classes: int | None) -> nn.Module:
    """The classifier of that name, untrained, for `classes` classes (1000). Raises UnknownName."""
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
    preset = models.get_model_weights(name).DEFAULT.transforms()
    (size,), (resized,) = preset.crop_size, preset.resize_size
    return {
        "size": size,
        "crop": size / resized,
        "mean": tuple(round(255 * value, 3) for value in preset.mean),
        "std": tuple(round(255 * value, 3) for value in preset.std),
        "resample": preset.interpolation.value,
    }


def knows(name: str) -> bool:
    """Whether it has a classifier of that name."""
    from torchvision import models

    return name in models.list_models(module=models)


def published(name: str) -> dict[str, str]:
    """{what it calls weights: their address}, those it calls DEFAULT first. Raises UnknownName."""
    from torchvision import models

    _check(name)
    weights = models.get_model_weights(name)
    return {"DEFAULT": weights.DEFAULT.url, **{one.name: one.url for one in weights}}


def _options(name: str) -> dict[str, Any]:
    fixed = {"image_size": defaults(name)["size"]} if name.startswith("vit_") else {}  # by its position embedding
    return {**_OPTIONS.get(name, {}), **fixed}


def _check(name: str) -> None:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise UnknownName("torchvision classifier", name, known)
