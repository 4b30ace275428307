"""Inputs of a network besides images, the same for every picture: metadata, a prompt, a switch.

`bound` fixes them in the module, so all other code sees a network that takes images only.
"""

import hashlib
import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from camserve.errors import ModelError, shown

# The attribute of a module that holds the arguments of its factory.
OWN = "camserve_arguments"
_BUFFER = "camserve_argument_"


def bound(module: nn.Module, arguments: Mapping[str, Any]) -> nn.Module:
    """Change `module` so that it takes images alone, and return it: its forward gets these keyword arguments each time.

    Arguments in the module's `camserve_arguments` are passed, too. Numbers, strings and truth values stay as they are.
    A list becomes a tensor with a row for each image: int64 if all its numbers are whole, else float32. Tensors and
    arrays are passed as they are, floats as float32. Raises ModelError for a name that forward does not take.
    """
    own = getattr(module, OWN, None)
    values = {**(own if isinstance(own, Mapping) else {}), **arguments}
    if not values:
        return module
    if "forward" in vars(module):
        raise ModelError(
            f"this {type(module).__name__} has a forward of its own, set on the instance; arguments need the forward "
            "of its class"
        )
    for name in values:
        if not isinstance(name, str) or not name.isidentifier():
            raise ModelError(f"argument {shown(name)} cannot be the name of a parameter of forward")
    images, kind = _name_of_images(module, values), type(module)
    plain, tensors, rows = dict[str, Any](), dict[str, str](), set[str]()
    for name, value in values.items():
        made = _tensor(name, value)
        if made is None:
            plain[name] = value
            continue
        tensors[name] = f"{_BUFFER}{name}"
        module.register_buffer(tensors[name], made)
        if isinstance(value, list | tuple):
            rows.add(name)

    def forward(self: nn.Module, x: Tensor) -> Any:
        given = {name: getattr(self, buffer) for name, buffer in tensors.items()}
        given |= {name: for_each(given[name], x.shape[0]) for name in rows}
        if images is None:
            return kind.forward(self, x, **plain, **given)
        return kind.forward(self, **{images: x}, **plain, **given)

    module.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
    return module


def for_each(value: Tensor, count: int) -> Tensor:
    """Repeat `value` for each of `count` images, (count, ...)."""
    return value[None].expand(count, *value.shape)


fx.wrap("for_each")  # a single step of a traced graph


def in_words(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as values for JSON: tensors and arrays by type, shape and hash, other objects by their class."""
    return {name: _in_words(value) for name, value in arguments.items()}


def _in_words(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        digest = hashlib.sha256(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}, sha256 {digest.hexdigest()}"
    return value if isinstance(value, str | int | float | list | tuple | None) else type(value).__name__


def _tensor(name: str, value: Any) -> Tensor | None:
    """The value as a tensor to register in the network; None if the value is passed as it is."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value.copy())
    if isinstance(value, Tensor):
        made = value.detach().clone()
        return made.float() if made.is_floating_point() else made
    if not isinstance(value, list | tuple):
        return None
    try:
        made = torch.tensor(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ModelError(
            f"argument '{name}' is neither a list of numbers nor a list of lists of equal length; allowed are such "
            "lists, numbers, strings and true or false, and in Python tensors and arrays"
        ) from None
    return made.float() if made.is_floating_point() else made


def _name_of_images(module: nn.Module, values: Mapping[str, Any]) -> str | None:
    """The parameter of forward that takes the images; None means the first position. Raises ModelError if unknown."""
    try:
        parameters = inspect.signature(module.forward).parameters
    except (TypeError, ValueError):
        return None
    named = [name for name, one in parameters.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    unknown = next((name for name in values if name not in named and not takes_all), None)
    if unknown is not None:
        near = get_close_matches(unknown, named, 1)
        meant = f"; did you mean '{near[0]}'?" if near else ""
        raise ModelError(
            f"{type(module).__name__}.forward takes no argument '{unknown}', but {', '.join(named)}{meant}"
        )
    if any(one.kind is one.POSITIONAL_ONLY for one in parameters.values()):
        return None
    free = [name for name in named if name not in values]
    return "pixel_values" if "pixel_values" in free else free[0] if free else None
