"""Operations that change the axes of values: reshape, transpose, squeeze, unsqueeze."""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import fx

from camserve.models.compiled.translation import Operation, Translation, rule
from camserve.models.compiled.values import Result, Value, as_sizes, numbers


@rule("Reshape")
def reshape(made: Translation, operation: Operation, value: Value, shape: Value) -> Result:
    """0 keeps the size of the input, if special_zero is set.

    If the reshape is a known operation, such as a flattening, it becomes that one, which then works for all sizes.
    """
    wanted, before = list(as_sizes(shape).items), operation.shapes[0]
    has_zeros = bool(operation.attributes.get("special_zero", False))
    keeps_images = (has_zeros and wanted[:1] == [0]) or _keeps_images(before, wanted)
    for place, size in enumerate(wanted):
        if size == 0 and has_zeros:
            fixed = before[place]
            wanted[place] = made.size("size", value, place) if fixed is None else fixed
    if not isinstance(value, fx.Node) or not keeps_images:
        return made.call("reshape", value, tuple(wanted))
    if len(before) == len(wanted) == 2:
        return value
    if (ends := _flattened(before, wanted)) is not None:
        return made.call(torch.flatten, value, *ends)
    if len(before) == len(wanted) and _without_ones(before) == _without_ones(wanted):
        return _turned(made, value, _order(before, wanted))
    return made.call("reshape", value, (made.size("size", value, 0), *wanted[1:]))


def _keeps_images(before: Sequence[int | None], wanted: Sequence[int | fx.Node]) -> bool:
    """Whether the first axis stays the axis of images. In a file made for one image, 1 stands for any number."""
    rest, now = before[1:], wanted[1:]
    if not rest or not now or before[0] not in (None, 1) or wanted[0] not in (-1, 1):
        return isinstance(wanted[0], fx.Node) and now == [-1]
    if -1 in now:
        return True
    known = None not in rest and all(isinstance(size, int) for size in now)
    return known and math.prod(cast(Sequence[int], rest)) == math.prod(cast(Sequence[int], now))


def _flattened(before: Sequence[int | None], wanted: Sequence[int | fx.Node]) -> tuple[int, int] | None:
    """The first and last of the axes that are joined, if nothing else changes; the axis of images stays."""
    if len(wanted) == 2 and wanted[1] == -1:
        return 1, -1
    count = len(before) - len(wanted)
    for first in range(1, len(wanted)) if count > 0 else ():
        last = first + count
        others = [*before[1:first], *before[last + 1 :]] == [*wanted[1:first], *wanted[first + 1 :]]
        joined = before[first : last + 1]
        product = None if None in joined else math.prod(cast(Sequence[int], joined))
        if others and (wanted[first] == -1 or wanted[first] == product):
            return first, last
    return None


def _without_ones(sizes: Sequence[Any]) -> list[Any]:
    return [size for size in sizes[1:] if size != 1]


def _order(before: Sequence[int | None], wanted: Sequence[int | fx.Node]) -> list[int]:
    """The new order of the axes, if only axes of size 1 move."""
    ones, others = (
        iter([place for place in range(1, len(before)) if (before[place] == 1) is one]) for one in (True, False)
    )
    return [0, *(next(ones if size == 1 else others) for size in wanted[1:])]


@rule("Transpose")
def transpose(made: Translation, operation: Operation, value: Value, order: Value) -> Result:
    """An empty order reverses the axes."""
    return _turned(made, value, numbers(order) or list(range(len(operation.shapes[0])))[::-1])


def _turned(made: Translation, value: Value, axes: list[int]) -> Value:
    if isinstance(value, fx.Node) and value.target == "permute":  # join two permutations to one or none
        before = cast(tuple[int, ...], value.args[1])
        value, axes = cast(fx.Node, value.args[0]), [before[axis] for axis in axes]
    return value if axes == sorted(axes) else made.call("permute", value, tuple(axes))


@rule("Squeeze")
def squeeze(made: Translation, operation: Operation, value: Value, axes: Value | None = None) -> Result:
    """Without axes, all axes of size 1 are removed."""
    rank = len(operation.shapes[0])
    gone = [place for place, size in enumerate(operation.shapes[0]) if size == 1] if axes is None else numbers(axes)
    if {axis % rank for axis in gone} == {2, 3} and rank == 4:
        return made.call(torch.flatten, value, 1)
    for axis in sorted((axis % rank for axis in gone), reverse=True):
        value = made.call("squeeze", value, axis)
    return value


@rule("Unsqueeze")
def unsqueeze(made: Translation, operation: Operation, value: Value, axes: Value) -> Result:
    """Axes are counted in the result."""
    rank = len(operation.shapes[0]) + len(numbers(axes))
    for axis in sorted(axis % rank for axis in numbers(axes)):
        value = made.call("unsqueeze", value, axis)
    return value
