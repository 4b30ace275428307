"""Architectures by name: from "torchvision:resnet18" to an untrained network, and the input it was made for.

    torchvision:NAME          any classifier that torchvision lists
    timm:NAME                 any model of timm, an extra
    package.module:factory    a class or function of an installed package
    ./net.py:factory          one of a file

The last two run code, so such a name comes from whoever runs camserve, never from a request.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from camserve.errors import ModelError
from camserve.models.architectures import factories, of_timm, of_torchvision

__all__ = ["Code", "build", "code_of", "defaults_of", "is_architecture", "is_untrained"]


class Code(NamedTuple):
    """How one makes a network oneself. file: where such code belongs. imports: lines. call: the expression."""

    file: str
    imports: tuple[str, ...]
    call: str


class _Library(NamedTuple):
    build: Callable[[str, int | None], nn.Module]
    defaults: Callable[[str], dict[str, Any]]
    code: Callable[[str], tuple[str, str]]


_LIBRARIES = {
    "torchvision": _Library(of_torchvision.build, of_torchvision.defaults, of_torchvision.code),
    "timm": _Library(of_timm.build, of_timm.defaults, of_timm.code),
}


def is_architecture(text: str) -> bool:
    """Whether `text` has the form of an architecture rather than of a card's name or path."""
    where, _, name = text.rpartition(":")
    if where in _LIBRARIES:
        return True
    return bool(re.fullmatch(r".+\.py|\w+(\.\w+)*", where)) and bool(re.fullmatch(r"[^\W\d]\w*(\.\w+)*", name))


def is_untrained(architecture: str) -> bool:
    """Whether it is certain that the network comes with random weights; a factory may load its own."""
    return architecture.partition(":")[0] in _LIBRARIES


def build(architecture: str, classes: int | None = None, *, folder: Path | None = None) -> nn.Module:
    """An untrained network.

    classes: how many it is to tell apart, where that is known; a factory that takes no such number is called
    without. folder: what the path of a .py file is relative to, default the working directory.
    Raises UnknownName where torchvision or timm has no such name, ModelError where the network cannot be made.
    The caller's random numbers are not drawn from.
    """
    library, _, name = architecture.partition(":")
    with torch.random.fork_rng(devices=[]):
        if library in _LIBRARIES:
            made: object = _LIBRARIES[library].build(name, classes)
        else:
            made = factories.build(architecture, classes, folder or Path())
    if not isinstance(made, nn.Module):
        raise ModelError(f"'{architecture}' made a {type(made).__name__}, not an nn.Module")
    return made


def defaults_of(architecture: str) -> dict[str, Any]:
    """The fields of `camserve.models.card.Input` that the architecture's own library states; {} for a factory."""
    library, _, name = architecture.partition(":")
    return _LIBRARIES[library].defaults(name) if library in _LIBRARIES else {}


def code_of(architecture: str) -> Code:
    """The code that makes the network without camserve, for a file of the user's own."""
    place, _, name = architecture.rpartition(":")
    if place in _LIBRARIES:
        imports, call = _LIBRARIES[place].code(name)
        return Code("./net.py", (imports,), call)
    if place.endswith(".py"):
        return Code(place, (), f"{name}()")
    return Code("./net.py", (f"from {place} import {name.partition('.')[0]}",), f"{name}()")
