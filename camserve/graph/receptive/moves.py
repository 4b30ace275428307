"""Rules for operations that move values without computing: they find the dimensions of x and y in the result."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from camserve.geometry.receptive_field import Window
from camserve.graph.receptive.step import NotKnown, Seen, Step

# Strides of a probe tensor in its storage: 1 along x, this number along y, 0 along all other dimensions.
_ROW = 1 << 20


def reshaped(step: Step) -> Seen:
    """Reshaping: a dimension is kept if its size and the product of the sizes after it stay the same."""
    seen, old, new = step.seen[0], step.value.shape, step.result.shape
    found: list[int] = []
    for axis in sorted(seen.axes or (), reverse=True):
        behind = math.prod(old[axis:])
        places = range(-len(new), found[-1] if found else 0)
        same = [dim for dim in places if new[dim] == old[axis] and math.prod(new[dim:]) == behind]
        found += same[-1:]
    if seen.axes is None or len(found) < 2:
        return _settled(seen, step.result)
    inner, outer = found
    return replace(seen, axes=(inner, outer) if seen.axes[0] > seen.axes[1] else (outer, inner))


def moved(step: Step) -> Any:
    """Permuting and slicing: applied to a probe. Its strides show the axes, and its offset shows the first cell."""
    seen = step.seen[0]
    if step.name == "getitem" and _picks(step.args[1]):
        raise NotKnown("indexing by a list or a tensor can pick any cell")
    probes = None if seen.axes is None else _probe(step, seen.axes)
    if probes is None:
        return _each(lambda result: _settled(seen, result), step.results)
    return _each(lambda result, probe: _read(seen, result, probe), step.results, probes)


def _picks(index: Any) -> bool:
    return any(isinstance(part, Tensor | list) for part in (index if isinstance(index, tuple) else (index,)))


def _probe(step: Step, axes: tuple[int, int]) -> Any:
    """The operation's result for a tensor without values that has strides only along x and y."""
    shape = list(step.value.shape)
    strides = [0] * len(shape)
    for axis, stride in zip(axes, (1, _ROW), strict=True):
        # an axis with one cell gets two, because otherwise its stride would have no meaning
        strides[axis], shape[axis] = stride, max(shape[axis], 2)
    probe = torch.empty_strided(shape, strides, device="meta")
    operation = getattr(Tensor, step.target) if isinstance(step.target, str) else step.target
    rest = step.args[1:], dict(list(step.kwargs.items())[0 if step.args else 1 :])
    try:
        return operation(probe, *rest[0], **rest[1])
    except (RuntimeError, IndexError):  # a map of one cell expanded to a whole grid
        return None


def _read(seen: Seen, result: Tensor, probe: Tensor) -> Seen:
    steps = {dim: probe.stride(dim) for dim in range(-probe.ndim, 0) if probe.shape[dim] > 1}
    across = [dim for dim, step in steps.items() if 0 < step < _ROW]
    down = [dim for dim, step in steps.items() if step >= _ROW]
    if len(across) != 1 or len(down) != 1:
        return _settled(seen, result)
    row, column = divmod(int(probe.storage_offset()), _ROW)
    x, y = Window(steps[across[0]], column, column), Window(steps[down[0]] // _ROW, row, row)
    return replace(seen, axes=(across[0], down[0])).through(x, y, result.shape)


def _settled(seen: Seen, result: Tensor) -> Seen:
    """Cells that left the grid are back in it if the tensor is (N, C, h, w) again."""
    back = result.ndim == 4 and (result.shape[-1], result.shape[-2]) == seen.grid
    return replace(seen.everywhere(), axes=(-1, -2)) if back else replace(seen, axes=None)


def _each(rule: Callable[..., Seen], results: Any, *rest: Any) -> Any:
    """Apply `rule` to a result, or to each of several results."""
    if isinstance(results, tuple | list):
        return tuple(rule(*parts) for parts in zip(results, *rest, strict=False))
    return rule(results, *rest)
