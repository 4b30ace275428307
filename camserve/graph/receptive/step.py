"""Seen, the receptive fields that travel along the graph with each tensor, and Step, which describes an operation."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from camserve.geometry.receptive_field import Field, Window

_SIGNATURES = {
    "conv2d": "input weight bias stride padding dilation groups",
    "max_pool2d": "input kernel_size stride padding dilation ceil_mode return_indices",
    "avg_pool2d": "input kernel_size stride padding ceil_mode count_include_pad divisor_override",
    "pad": "input pad mode value",
    "cat": "tensors dim",
    "layer_norm": "input normalized_shape weight bias eps",
    "normalize": "input p dim eps out",
}


class NotKnown(Exception):
    """The receptive field of an operation's output is not known; the message says why."""


@dataclass(frozen=True)
class Seen:
    """The receptive fields of a tensor's cells.

    grid: (w, h) cells. axes: the dimensions of x and y, counted from the end so that broadcasting does not change them;
    None if the cells are not two dimensions, as in tokens or after flattening.
    """

    field: Field
    grid: tuple[int, int]
    axes: tuple[int, int] | None = (-1, -2)

    def through(self, x: Window, y: Window, shape: torch.Size) -> "Seen":
        """The fields after windows x and y, in an output of `shape` with the same axes."""
        across, down = self.axes or (-1, -2)
        return Seen(self.field.through(x, y, self.grid), (shape[across], shape[down]), self.axes)

    def everywhere(self) -> "Seen":
        """The fields after an operation that mixes all cells."""
        return replace(self, field=self.field.everywhere(self.grid))


@dataclass(frozen=True)
class Step:
    """One operation and its results. seen: the fields of each input that depends on the image."""

    name: str
    target: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    seen: list[Seen]
    results: Any

    @property
    def result(self) -> Tensor:
        """The result, or the first of several results."""
        result: Tensor = self.results[0] if isinstance(self.results, tuple | list) else self.results
        return result

    @property
    def value(self) -> Tensor:
        """The first input, a tensor."""
        value: Tensor = self.args[0] if self.args else next(iter(self.kwargs.values()))
        return value

    def option(self, name: str, default: Any = None) -> Any:
        """A layer's attribute, or a function's argument by keyword or position."""
        if isinstance(self.target, nn.Module):
            return getattr(self.target, name, default)
        places = dict(zip(_SIGNATURES.get(self.name, "input dim keepdim").split(), self.args, strict=False))
        return self.kwargs.get(name, places.get(name, default))

    def dims(self, ndim: int, default: Any = None) -> list[int]:
        """The dimensions, of `ndim`, that it works along, counted from the end; all dimensions if it names none."""
        given = self.option("dim", self.kwargs.get("axis", default))
        given = range(ndim) if given is None else given
        listed = list(given) if isinstance(given, Iterable) else [given]
        return [dim if dim < 0 else dim - ndim for dim in listed]

    def axes(self) -> tuple[int, int]:
        """The axes of the input. Raises NotKnown if its cells have left the grid."""
        if self.seen[0].axes is None:
            raise NotKnown(f"the input of {self.name} is a tensor whose cells are not in a grid any more")
        return self.seen[0].axes
