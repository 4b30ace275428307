"""What torch.save wrote, read without running or importing anything that the file names.

torch's own reader of weights makes the tensors. Every other class or function in a file, such as a NumPy number, a path
or a setting of the training script, becomes a stand-in, which knows its name and nothing else.
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
# So many names at most are met one by one, as in files older than torch 1.6, where torch cannot list them.
_NAMES = 100


class StandIn(list[Any]):
    """In place of an object of a class that camserve does not know; empty but for items, which lists may have."""

    named = ""

    def __new__(cls, *_arguments: Any, **_options: Any) -> "StandIn":
        return super().__new__(cls)

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        super().__init__()

    def __setstate__(self, _state: Any) -> None:
        """Whatever the file says of its members is left out."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # it may be a key


class PlainDict:
    """In place of a dict with more to it, such as a defaultdict or a configuration: its items in a plain one."""

    def __new__(cls, *_arguments: Any, **_options: Any) -> dict[Any, Any]:  # type: ignore[misc]
        return {}


def read_pickled(path: Path) -> Any:
    """What is in the file, with a `StandIn` for all that is neither tensor nor plain value.

    Raises ModelError: damaged, a TorchScript program, or it names what no file of weights has to name.
    """
    with _LOADING, warnings.catch_warnings():  # the list of what is allowed belongs to the whole process
        warnings.simplefilter("ignore")  # of rare kinds of files, in torch's words; what fails says so in ours
        known: dict[str, type] = {_DEFAULT: PlainDict, **dict.fromkeys(_listed(path), StandIn)}
        while True:
            try:
                with serialization.safe_globals([_named(*one) for one in known.items()]):
                    return torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # pickle, zip, end of file, unicode: whatever the bytes lead to
                new = _asked(str(error))
                if new.items() <= known.items() or len(known) > _NAMES:
                    raise ModelError(f"cannot load '{path.name}': {_reason(str(error), path)}") from None
                known |= new


def holds_objects(names: Iterable[str]) -> str:
    """Why nothing but the weights alone will do, where objects of these classes are in their place."""
    return (
        f"it holds not only weights but a Python object ({', '.join(names)}), and camserve runs nothing that comes in "
        f"a file. Where it was made, or where you trust it, load it in Python and save the weights alone: {SAVE}"
    )


def _listed(path: Path) -> list[str]:
    """The names that torch does not know itself; [] where it cannot list them."""
    try:
        return [name for name in serialization.get_unsafe_globals_in_checkpoint(path) if name != _DEFAULT]
    except Exception:  # an old file, or a damaged one
        return []


def _named(name: str, kind: type) -> tuple[type, str]:
    """What torch puts in place of `name`: a class of its own, which torch's errors call by that name."""
    module, _, last = name.rpartition(".")
    return type(last, (kind,), {"named": name, "__module__": module}), name


def _asked(words: str) -> dict[str, type]:
    """What to put in place of the name that torch stumbles over; of builtins it tells only the last part."""
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
    return "it is damaged, or neither of torch.save nor of safetensors"
