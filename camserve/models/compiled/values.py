"""What operations are given and give: constants, nodes of the graph in the making, and sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx

from camserve.errors import ModelError


class Untranslatable(ModelError):
    """An operation that has no rule, or has one but not for what it is given here."""


@dataclass(frozen=True)
class Sizes:
    """What a graph computes of its sizes: numbers, or nodes that give one, in an array of any shape.

    is_whole: whether they are whole numbers; halves of sizes are not until they are rounded.
    """

    array: npt.NDArray[Any]
    is_whole: bool = True

    @classmethod
    def row(cls, items: Sequence[int | fx.Node]) -> "Sizes":
        """A row of them."""
        made = np.empty(len(items), object)
        made[:] = items
        return cls(made)

    @property
    def items(self) -> tuple[int | fx.Node, ...]:
        """One after the other."""
        return tuple(self.array.flat)


Value: TypeAlias = Tensor | fx.Node | Sizes
Result: TypeAlias = Value | tuple[Value, ...]


def numbers(value: Value) -> list[Any]:
    """A constant row of numbers. Raises Untranslatable where it is none."""
    if isinstance(value, fx.Node):
        raise Untranslatable("what has to be constant is computed from the picture")
    if isinstance(value, Sizes):
        return [_whole(item) for item in value.items]
    found: list[Any] = value.flatten().tolist()
    return found


def _whole(item: int | fx.Node) -> int:
    if isinstance(item, fx.Node):
        raise Untranslatable("what has to be constant depends on the size of the picture")
    return item


def as_sizes(value: Value) -> Sizes:
    """Sizes, or a constant as such. Raises Untranslatable."""
    if isinstance(value, Sizes):
        return value
    items = numbers(value)
    is_whole = all(item == int(item) for item in items)
    made = Sizes.row([int(item) if is_whole else item for item in items])
    return Sizes(made.array.reshape(tuple(value.shape)), is_whole) if isinstance(value, Tensor) else made


def as_constant(value: Value) -> Value:
    """Sizes that are all fixed as a constant like any other."""
    if isinstance(value, Sizes) and all(isinstance(item, int) for item in value.items):
        return torch.from_numpy(value.array.astype(np.int64))
    return value
