"""What a module holds besides its weights: seen, and copied, so that no call meets what another has left behind.

Some networks remember: a window made smaller for a small image, biases looked up once, a counter.
"""

import contextlib
import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# How deep containers in a module's attributes are looked into.
_DEPTH = 4


def fresh(module: nn.Module) -> nn.Module:
    """A module that shares its parameters with `module`, and nothing that a call could change."""
    memo: dict[int, Any] = {id(parameter): parameter for parameter in module.parameters()}
    return copy.deepcopy(module, memo)


def without_hooks(module: nn.Module) -> nn.Module:
    """As `fresh`, without forward hooks; pre-hooks stay, as old-style weight norm and pruning are such."""
    bare = fresh(module)
    for part in bare.modules():
        part._forward_hooks.clear()
    return bare


def fingerprint(module: nn.Module) -> list[Any]:
    """What would differ if a call had left something behind in `module` or in what it holds."""
    return [(name, _print_of(_held(part), _DEPTH)) for name, part in module.named_modules()]


def _held(part: nn.Module) -> dict[str, Any]:
    """Its attributes, those left out that are empty containers: most of torch's own."""
    return {name: value for name, value in vars(part).items() if not isinstance(value, dict) or value}


def _print_of(value: Any, depth: int) -> Any:
    if isinstance(value, Tensor):
        # a value computed anew for each call, as pruning does, is no memory: only what it is made of counts
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
    """How many members it has; 0 where it has none."""
    try:
        return len(value)
    except Exception:  # an object of anybody's, which may raise anything
        return 0


@contextlib.contextmanager
def same_chance(seed: int = 0) -> Iterator[list[bool]]:
    """While inside, random numbers of torch, Python and numpy are those of a seed; afterwards all is as before.

    Holds, afterwards, whether any were drawn.
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
