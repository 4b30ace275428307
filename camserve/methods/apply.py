"""From an entry of the registry to its map."""

from collections.abc import Callable
from importlib import import_module

import torch

from camserve.catalogue.method import Method
from camserve.methods.evidence import Evidence


def apply(method: Method, evidence: Evidence) -> torch.Tensor:
    """The raw, signed map of a method, (N, h, w). Raises OptionError where head or network are none for it."""
    module, name = method.function.split(".")
    function: Callable[[Evidence], torch.Tensor] = getattr(import_module(f"camserve.methods.{module}"), name)
    return function(evidence)
