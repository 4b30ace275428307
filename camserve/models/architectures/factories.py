"""Networks of the user: a class, a function or a module, in an installed package or in a file.

An error in their code becomes one ModelError with the message and the line of that error.
"""

import copy
import hashlib
import inspect
import sys
import traceback
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from textwrap import shorten
from types import ModuleType
from typing import Any

import torch
from torch import nn

from camserve.errors import ModelError, UnknownName, first_line, is_interrupt

# Usual names of the parameter for the number of classes, in the order in which we try them.
_CLASSES = ("num_classes", "classes", "n_classes", "num_labels")


def build(architecture: str, classes: int | None, folder: Path) -> object:
    """Call the factory. `architecture` is "package.module:factory" or "net.py:factory", relative to `folder`."""
    place, _, name = architecture.rpartition(":")
    try:
        module = _run(folder / place) if place.endswith(".py") else import_module(place)
        factory = _attribute(module, name)
        if isinstance(factory, nn.Module):
            return copy.deepcopy(factory)
        return _call(factory, classes)
    except BaseException as error:  # foreign code: a script without a main guard may even exit
        if is_interrupt(error):
            raise
        raise ModelError(f"cannot make architecture '{architecture}': {_words(error)}{_hint(error)}") from error


def file_of(architecture: str, folder: Path) -> Path | None:
    """The file that an architecture such as "./net.py:Net" names; None if it names a package."""
    place = architecture.rpartition(":")[0]
    return folder / place if place.endswith(".py") else None


def _run(path: Path) -> ModuleType:
    """Run the file as a module, each time: it may have changed, and another card may have a file with this name."""
    if not path.is_file():
        raise ModelError(f"there is no file '{path}'")
    mark = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    spec = spec_from_file_location(f"camserve_architecture_{path.stem}_{mark}", path)
    assert spec is not None and spec.loader is not None  # a .py file always has both
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their module there
    spec.loader.exec_module(module)
    return module


def _attribute(module: ModuleType, name: str) -> Any:
    try:
        return reduce(getattr, name.split("."), module)
    except AttributeError:
        public = {n: v for n, v in vars(module).items() if callable(v) and not n.startswith("_")}
        own = [n for n, v in public.items() if getattr(v, "__module__", None) == module.__name__]
        raise UnknownName("name", name, own or public) from None


def _call(factory: Callable[..., object], classes: int | None) -> object:
    """Call without arguments, or with the number of classes if it is known and there is a parameter for it."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # builtins have no signature
        parameters = {}  # type: ignore[assignment]
    named = next((name for name in _CLASSES if name in parameters), None)
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if classes is None or not (named or open_ended):
        return factory()
    try:
        return factory(**{named or _CLASSES[0]: classes})
    except TypeError as error:
        if named or _CLASSES[0] not in first_line(error):
            raise
        return factory()


def _words(error: BaseException) -> str:
    """The error message and, if the error is not ours, its file and line."""
    if isinstance(error, ModelError | UnknownName):
        return str(error)
    return f"{type(error).__name__}: {shorten(first_line(error), 300, placeholder=' ...')}{_line(error)}"


def _line(error: BaseException) -> str:
    """The innermost line outside torch and outside the code that imports and calls."""
    ours = (__file__, "<frozen importlib", str(Path(torch.__file__).parent))
    theirs = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(ours)]
    theirs = [f for f in theirs if Path(f.filename).parent.name != "importlib"]
    return f" ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else ""


def _hint(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return "; install it, or name a file that needs nothing beside it, as in ./net.py:Net"
    if isinstance(error, TypeError) and "required" in first_line(error):
        return "; a factory is called without arguments, so write a function that gives them, as in ./net.py:make"
    return ""
