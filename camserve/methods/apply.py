"""From an entry of the registry to its map."""

from collections.abc import Callable
from importlib import import_module
from typing import cast

import torch

from camserve.catalogue.method import Method
from camserve.methods.evidence import Evidence


def apply(method: Method, evidence: Evidence) -> torch.Tensor:
    """Return the raw, signed map of a method, (N, h, w). Raises OptionError if head or network do not suit it."""
    return function_of(method)(evidence)


def function_of(method: Method) -> Callable[[Evidence], torch.Tensor]:
    """Return the function that computes the map; its module is loaded at the first use."""
    module, name = method.function.split(".")
    return cast(Callable[[Evidence], torch.Tensor], getattr(import_module(f"camserve.methods.{module}"), name))
