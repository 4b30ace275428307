"""Architectures by name: from "torchvision:resnet18" to an untrained network, and the input it was made for.

    torchvision:NAME          any classifier that torchvision lists
    timm:NAME                 any model of timm, an extra
    timm:hf-hub:OWNER/NAME    one that the local cache of the Hugging Face hub holds, with its weights
    hf:FOLDER                 a classifier of transformers, an extra, with its weights; or hf:OWNER/NAME of that cache
    clip:FOLDER               a model of images and sentences, whose classes are the labels; see zero_shot.py
    package.module:factory    a class or function of an installed package
    ./net.py:factory          one of a file
    ./net.onnx                a model file that OpenVINO reads, weights inside: no code of anybody's

Factories run code, so such a name comes from whoever runs camserve, never from a request.
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
    """How one makes a network oneself. file: where such code belongs. imports: lines. call: the expression."""

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
    """An untrained network.

    classes: how many it is to tell apart, where that is known; a factory that takes no such number is called
    without. folder: what the path of a .py file is relative to, default the working directory.
    Raises UnknownName where torchvision or timm has no such name, ModelError where the network cannot be made.
    The caller's random numbers are not drawn from.
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
    """What the architecture's own library states of it; nothing for a factory.

    folder: as for `build`. stated_input: fields of the input that somebody has stated. file, sha256: of the weights,
    where they are known: those that a library publishes have names of classes and an input of their own.
    """
    if (repository := repository_of(architecture)) is not None:
        return of_transformers.brought(repository, folder, stated_input)
    if is_model_file(architecture):
        return brought_by_file(read_model_file(folder / architecture))
    library, _, name = architecture.partition(":")
    return _LIBRARIES[library].brought(name, file, sha256) if library in _LIBRARIES else Brought()


def brought_by(module: nn.Module, stated_input: Collection[str] = ()) -> Brought:
    """What a network that the user made brings along. stated_input: as for `brought_along`."""
    return of_transformers.brought_by(module, stated_input) or of_timm.brought_by(module) or Brought()


def _of_files() -> Any:
    """What reads model files: OpenVINO is an extra, and slow to import."""
    return import_module("camserve.models.compiled.of_files")


def code_of(architecture: str) -> Code:
    """The code that makes the network without camserve, for a file of the user's own."""
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
