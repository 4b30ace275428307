"""Architectures by name: from "torchvision:resnet18" to an untrained network, and the input it was made for.

    torchvision:NAME          any classifier that torchvision lists
    timm:NAME                 any model of timm, an extra
    timm:hf-hub:OWNER/NAME    a model with weights in the local cache of the Hugging Face hub
    hf:FOLDER                 a classifier of transformers, an extra, with weights; or hf:OWNER/NAME of that cache
    clip:FOLDER               a model that compares images with sentences; the labels are its classes; see zero_shot.py
    package.module:factory    a class or function of an installed package
    ./net.py:factory          a class or function in a file
    ./net.onnx                a model file that OpenVINO reads, with weights: runs no foreign code

Factories run code, so such a name must come from the operator of camserve, never from a request.
"""

from collections.abc import Callable, Collection
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from camserve.errors import ModelError
from camserve.models.architectures import factories, of_timm, of_torchvision, of_transformers
from camserve.models.architectures.brought import Brought, brought_by_file
from camserve.models.architectures.hub_cache import repository_of
from camserve.models.compiled.model_file import is_model_file, read_model_file


class Code(NamedTuple):
    """How to make a network without camserve. file: where the code belongs. imports: lines. call: the expression."""

    file: str
    imports: tuple[str, ...]
    call: str


class _Library(NamedTuple):
    build: Callable[[str, int | None], nn.Module]
    brought: Callable[[str, Path | None, str | None], Brought]
    code: Callable[[str], tuple[str, str]]


_LIBRARIES = {
    "torchvision": _Library(of_torchvision.build, of_torchvision.brought, of_torchvision.code),
    "timm": _Library(of_timm.build, of_timm.brought, of_timm.code),
}


def build(architecture: str, classes: int | None = None, *, folder: Path | None = None) -> nn.Module:
    """Make an untrained network.

    classes: the number of classes, if known. A factory without a parameter for it is called without it. folder: the
    folder that the path of a .py file is relative to, by default the working directory.
    Raises UnknownName if torchvision or timm has no such name, ModelError if the network cannot be made.
    The random state of the caller does not change.
    """
    library, _, name = architecture.partition(":")
    with torch.random.fork_rng(devices=[]):
        if (repository := repository_of(architecture)) is not None:
            made: object = of_transformers.build(repository, folder or Path())
        elif is_model_file(architecture):
            made = _of_files().build((folder or Path()) / architecture)
        elif library in _LIBRARIES:
            made = _LIBRARIES[library].build(name, classes)
        else:
            made = factories.build(architecture, classes, folder or Path())
    if not isinstance(made, nn.Module):
        raise ModelError(f"'{architecture}' made a {type(made).__name__}, not an nn.Module")
    return made


def brought_along(
    architecture: str,
    folder: Path = Path(),
    stated_input: Collection[str] = (),
    file: Path | None = None,
    sha256: str | None = None,
) -> Brought:
    """What the library of the architecture states about it; nothing for a factory.

    folder: as in `build`. stated_input: the input fields that the user or the card states. file, sha256: of the
    weights, if known: published weights have their own class names and input.
    """
    if (repository := repository_of(architecture)) is not None:
        return of_transformers.brought(repository, folder, stated_input)
    if is_model_file(architecture):
        return brought_by_file(read_model_file(folder / architecture))
    library, _, name = architecture.partition(":")
    return _LIBRARIES[library].brought(name, file, sha256) if library in _LIBRARIES else Brought()


def brought_by(module: nn.Module, stated_input: Collection[str] = ()) -> Brought:
    """What the library of a user's network states about it. stated_input: as in `brought_along`."""
    return of_transformers.brought_by(module, stated_input) or of_timm.brought_by(module) or Brought()


def _of_files() -> Any:
    """The module that reads model files. OpenVINO is an extra, and slow to import."""
    return import_module("camserve.models.compiled.of_files")


def code_of(architecture: str) -> Code:
    """The code that makes the network without camserve, for a file of the user."""
    if (repository := repository_of(architecture)) is not None:
        imports, call = of_transformers.code(repository)
        return Code("./net.py", (imports,), call)
    place, _, name = architecture.rpartition(":")
    if place in _LIBRARIES:
        imports, call = _LIBRARIES[place].code(name)
        return Code("./net.py", (imports,), call)
    if place.endswith(".py"):
        return Code(place, (), f"{name}()")
    return Code("./net.py", (f"from {place} import {name.partition('.')[0]}",), f"{name}()")
