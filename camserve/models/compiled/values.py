"""Inputs and outputs of operations: constants, nodes of the new graph, and sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx

from camserve.errors import ModelError


class Untranslatable(ModelError):
    """An operation has no rule, or its rule does not work for these inputs."""


@dataclass(frozen=True)
class Sizes:
    """Sizes that a graph computes: numbers, or nodes that give a number, in an array of any shape.

    is_whole: whether they are whole numbers; half of a size is not, until it is rounded.
    """

    array: npt.NDArray[Any]
    is_whole: bool = True

    @classmethod
    def row(cls, items: Sequence[int | fx.Node]) -> "Sizes":
        """A row of sizes."""
        made = np.empty(len(items), object)
        made[:] = items
        return cls(made)

    @property
    def items(self) -> tuple[int | fx.Node, ...]:
        """All sizes in order."""
        return tuple(self.array.flat)


Value: TypeAlias = Tensor | fx.Node | Sizes
Result: TypeAlias = Value | tuple[Value, ...]


def numbers(value: Value) -> list[Any]:
    """A constant row of numbers. Raises Untranslatable if the value is not constant."""
    if isinstance(value, fx.Node):
        raise Untranslatable("a value that must be constant is computed from the picture")
    if isinstance(value, Sizes):
        return [_whole(item) for item in value.items]
    found: list[Any] = value.flatten().tolist()
    return found


def _whole(item: int | fx.Node) -> int:
    if isinstance(item, fx.Node):
        raise Untranslatable("a value that must be constant depends on the size of the picture")
    return item


def as_sizes(value: Value) -> Sizes:
    """The value, a constant or sizes, as Sizes. Raises Untranslatable."""
    if isinstance(value, Sizes):
        return value
    items = numbers(value)
    is_whole = all(item == int(item) for item in items)
    made = Sizes.row([int(item) if is_whole else item for item in items])
    return Sizes(made.array.reshape(tuple(value.shape)), is_whole) if isinstance(value, Tensor) else made


def as_constant(value: Value) -> Value:
    """Sizes that are all fixed, as an ordinary constant; other values unchanged."""
    if isinstance(value, Sizes) and all(isinstance(item, int) for item in value.items):
        return torch.from_numpy(value.array.astype(np.int64))
    return value
