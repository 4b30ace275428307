"""Checks of a command line that run before torch is imported and a model is loaded, which takes seconds."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from camserve.errors import CamserveError, ImageError, UnknownName

if TYPE_CHECKING:
    from camserve.catalogue.options import ExplainOptions
    from camserve.config.schema import Settings
    from camserve.model import Model


def check_model(name: str | None, settings: "Settings") -> Path | None:
    """The card of a model; None for an architecture. Raises ModelNotFound, and ModelError if files are missing.

    name: None means the model of the settings.
    """
    from camserve.models.architectures.forms import is_architecture
    from camserve.models.card import card_path, check_files

    given = name or settings.explain.model
    if is_architecture(given):
        return None
    card = card_path(given, settings.models)
    check_files(card, settings.models)
    return card


def missing(images: Iterable[str | Path]) -> list[tuple[str, ImageError]]:
    """The images that do not exist, each with its error."""
    return [
        (str(image), ImageError(f"cannot read '{image}': No such file or directory. Check the path."))
        for image in images
        if _is_absent(image)
    ]


def _is_absent(image: str | Path) -> bool:
    """Whether the file certainly does not exist. Other problems are reported when the file is read."""
    try:
        Path(image).stat()
    except (FileNotFoundError, NotADirectoryError):
        return "://" not in str(image)
    except (OSError, ValueError):
        return False
    return False


def check_names(model: "Model", targets: Iterable[str], how: "ExplainOptions") -> None:
    """Raise UnknownName before the first image if the model does not have a given layer or class."""
    import numpy as np

    from camserve.catalogue.targets import resolve_target
    from camserve.explain.looking import expected_index

    logits, expected = np.zeros(len(model.labels), np.float32), expected_index(how, model.labels)
    named = [layer for layer in how.layers if layer is not None or how.output_stride is not None]
    checks: list[Callable[[], object]] = [partial(model.layer, layer, how.output_stride) for layer in named]
    checks += [partial(resolve_target, target, logits, model.labels, expected=expected) for target in targets]
    for check in checks:
        try:
            check()
        except UnknownName:
            raise
        except CamserveError:  # reported for each image, because it may depend on the image or the method
            continue
