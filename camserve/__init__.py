"""Why did my classifier say that? Class activation maps for image classifiers.

    import camserve
    model = camserve.load("efficientnet-lite0")
    explanation = model.explain("photos/cat.jpg")
    explanation.overlay().save("why.png")

Importing camserve is cheap: torch is loaded when a model is.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from camserve.version import __version__

if TYPE_CHECKING:
    from camserve.errors import CamserveError
    from camserve.explanation.explanation import Explanation
    from camserve.model import Model, load

_HOMES = {
    "CamserveError": "camserve.errors",
    "Explanation": "camserve.explanation",
    "Model": "camserve.model",
    "load": "camserve.model",
}

__all__ = ["CamserveError", "Explanation", "Model", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'camserve' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
