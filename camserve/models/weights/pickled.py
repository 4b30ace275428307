"""Reads files of torch.save without running or importing anything that the file names.

torch's own reader of weights makes the tensors. Every other class or function in a file, such as a NumPy number, a path
or a setting of the training script, becomes a stand-in, which only knows its name.
"""

import re
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import serialization

from camserve.errors import ModelError
from camserve.models.architectures.other_kinds import CHECKPOINT, PAGE, SCRIPT, kind_of

SAVE = "torch.save(model.state_dict(), 'weights.pth')"
_DEFAULT = "collections.defaultdict"
_LOADING = threading.Lock()
# Most unknown names to learn one by one, in files older than torch 1.6, in which torch cannot list them.
_NAMES = 100


class StandIn(list[Any]):
    """Replaces an object of an unknown class. It is empty, except for items if the object is a list."""

    named = ""

    def __new__(cls, *_arguments: Any, **_options: Any) -> "StandIn":
        return super().__new__(cls)

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        super().__init__()

    def __setstate__(self, _state: Any) -> None:
        """Ignore the state of the object in the file."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # a stand-in may be a key


class PlainDict:
    """Replaces a subclass of dict, such as a defaultdict or a configuration, by a plain dict of its items."""

    def __new__(cls, *_arguments: Any, **_options: Any) -> dict[Any, Any]:  # type: ignore[misc]
        return {}


def read_pickled(path: Path) -> Any:
    """The content of the file, with a `StandIn` for all objects but tensors and plain values.

    Raises ModelError if the file is damaged, is a TorchScript program, or names what a file of weights does not need.
    """
    with _LOADING, warnings.catch_warnings():  # torch's list of allowed names is shared by the whole process
        warnings.simplefilter("ignore")  # torch warns about rare kinds of files; our errors say what fails
        known: dict[str, type] = {_DEFAULT: PlainDict, **dict.fromkeys(_listed(path), StandIn)}
        while True:
            try:
                with serialization.safe_globals([_named(*one) for one in known.items()]):
                    return torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # damaged bytes raise errors of pickle, zip, end of file, unicode
                new = _asked(str(error))
                if new.items() <= known.items() or len(known) > _NAMES:
                    raise ModelError(f"cannot load '{path.name}': {_reason(str(error), path)}") from None
                known |= new


def holds_objects(names: Iterable[str]) -> str:
    """Explains that the file must hold weights alone, if there are objects of these classes in their place."""
    return (
        f"it holds not only weights but a Python object ({', '.join(names)}), and camserve never runs code from "
        f"a file. On the machine that made it, or if you trust it, load it in Python and save the weights alone: {SAVE}"
    )


def _listed(path: Path) -> list[str]:
    """The names that torch does not know; [] if it cannot list them."""
    try:
        return [name for name in serialization.get_unsafe_globals_in_checkpoint(path) if name != _DEFAULT]
    except Exception:  # an old file, or a damaged one
        return []


def _named(name: str, kind: type) -> tuple[type, str]:
    """torch's replacement for `name`: a class of its own, which torch's errors call by that name."""
    module, _, last = name.rpartition(".")
    return type(last, (kind,), {"named": name, "__module__": module}), name


def _asked(words: str) -> dict[str, type]:
    """The replacement for the name in torch's error; for a name of builtins the error has only the last part."""
    if found := re.search(r"GLOBAL ([\w.]+) was not an allowed global", words):
        return {found[1] if "." in found[1] else f"builtins.{found[1]}": StandIn}
    found = re.search(r"Can only SETITEMS? for dict.*but got <class '([\w.]+)'>", words)
    return {found[1]: PlainDict} if found else {}


def _reason(words: str, path: Path) -> str:
    if "TorchScript" in words:
        return (
            f"it is a TorchScript program. Open it with torch.jit.load and save its weights alone: {SAVE} "
            f"({PAGE}#{SCRIPT.anchor})"
        )
    asked = re.search(r"GLOBAL ([\w.]+)", words) or re.search(r"but got <class '([\w.]+)'>", words)
    if asked:
        return holds_objects([asked[1]])
    if "call reduce" in words or "Can only build" in words:
        return holds_objects(["of a class inside another, or made by a method"])
    kind = kind_of(path)
    if kind is not None and kind is not CHECKPOINT:
        return f"it is {kind.in_words(Path(path.name))}"
    return "it is damaged, or not a file of torch.save or safetensors"
