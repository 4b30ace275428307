"""The state of a module besides its weights: compared, and copied, so that one call does not affect another.

Some networks keep state between calls: a window that was reduced for a small image, cached biases, a counter.
"""

import contextlib
import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# Levels of nested containers in a module's attributes that are compared.
_DEPTH = 4


def fresh(module: nn.Module) -> nn.Module:
    """A copy that shares only the parameters with `module`, and no state that a call could change."""
    memo: dict[int, Any] = {id(parameter): parameter for parameter in module.parameters()}
    return copy.deepcopy(module, memo)


def without_hooks(module: nn.Module) -> nn.Module:
    """As `fresh`, without forward hooks. Pre-hooks stay, because old weight norm and pruning use them."""
    bare = fresh(module)
    for part in bare.modules():
        part._forward_hooks.clear()
    return bare


def fingerprint(module: nn.Module) -> list[Any]:
    """A summary of the state of `module` that differs if a call has changed the state."""
    return [(name, _print_of(_held(part), _DEPTH)) for name, part in module.named_modules()]


def _held(part: nn.Module) -> dict[str, Any]:
    """The attributes of a module without empty dicts, which most of torch's own attributes are."""
    return {name: value for name, value in vars(part).items() if not isinstance(value, dict) or value}


def _print_of(value: Any, depth: int) -> Any:
    if isinstance(value, Tensor):
        # compares values, because some steps (pruning) compute a tensor again at each call, which is not memory
        return (tuple(value.shape), value.dtype, value._version if isinstance(value, nn.Parameter) else _sum(value))
    if isinstance(value, str | int | float | bool | bytes | None):
        return value
    if isinstance(value, nn.Module) or depth == 0:
        return type(value).__name__
    if isinstance(value, dict):
        return [(_print_of(key, depth - 1), _print_of(one, depth - 1)) for key, one in value.items()]
    if isinstance(value, list | tuple):
        return [_print_of(one, depth - 1) for one in value]
    attributes = getattr(value, "__dict__", None)
    return (type(value).__name__, _print_of(attributes, depth - 1) if attributes else len_of(value))


def _sum(value: Tensor) -> Any:
    if value.is_meta or value.is_quantized or not value.numel():
        return 0
    with torch.no_grad():
        return float(value.double().abs().sum()) if not value.is_complex() else float(value.abs().double().sum())


def len_of(value: Any) -> int:
    """The number of members; 0 if there is no number."""
    try:
        return len(value)
    except Exception:  # an object of the user may raise anything
        return 0


@contextlib.contextmanager
def same_chance(seed: int = 0) -> Iterator[list[bool]]:
    """While active, the random numbers of torch, Python and numpy come from a seed; afterwards all is as before.

    The yielded list has one value afterwards: whether random numbers were drawn.
    """
    drawn = list[bool]()
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)
            begun = _chance()
            yield drawn
            drawn.append(_chance() != begun)
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _chance() -> tuple[bytes, object, object]:
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), np.random.get_state(legacy=False)["state"]["pos"]
