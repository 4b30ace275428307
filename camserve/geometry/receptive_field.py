"""Receptive-field arithmetic: which pixels of the input can affect the cells of a grid.

One axis at a time, in pixel-index coordinates (the first pixel is 0). A layer is a Window: its cell i takes
cells step*i + first .. step*i + last of the grid below it, where a convolution of kernel k, stride s,
dilation d and left padding p has step = s, first = -p, last = d (k - 1) - p. Chaining windows from the image
(stride 1, first = last = 0) gives for size r = last - first + 1, stride j and centre start = (first + last)/2

    j' = j s ;  r' = r + d (k - 1) j ;  start' = start + (d (k - 1)/2 - p) j

which is the usual recurrence (Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural
Networks", Distill 2019).
"""

from dataclasses import dataclass, replace
from typing import NamedTuple


class Window(NamedTuple):
    """Cell i takes cells step*i + first .. step*i + last, inclusive, of the grid below."""

    step: int
    first: int
    last: int


@dataclass(frozen=True)
class Axis:
    """The receptive fields of a grid's cells along one axis.

    Cell u takes pixels stride*u + first .. stride*u + last, inclusive. Only low .. high of them exist: the
    rest is padding, or pixels at the right or bottom that an earlier stride has left out.
    """

    stride: int
    first: int
    last: int
    low: int
    high: int

    @property
    def size(self) -> int:
        """The number of pixels, padding included."""
        return self.last - self.first + 1

    @property
    def start(self) -> float:
        """The pixel at the centre of the receptive field of cell 0."""
        return (self.first + self.last) / 2

    def through(self, window: Window, cells: int) -> "Axis":
        """The axis after a layer that slides `window` over these `cells` cells."""
        return Axis(
            self.stride * window.step,
            self.first + self.stride * window.first,
            self.last + self.stride * window.last,
            *self.limits(cells),
        )

    def limits(self, cells: int) -> tuple[int, int]:
        """The first and the last pixel that can affect any of `cells` cells."""
        return max(self.low, self.first), min(self.high, self.last + self.stride * (cells - 1))

    def join(self, other: "Axis", cells: int) -> "Axis":
        """The union of two paths that end in the same `cells` cells, on the stride of the wider one.

        Where the strides differ, the result is the smallest field of the wider one's stride that covers both in every
        cell.
        """
        wide, other = (self, other) if self.size >= other.size else (other, self)
        drift = (other.stride - wide.stride) * (cells - 1)
        lows, highs = zip(wide.limits(cells), other.limits(cells), strict=True)
        return Axis(
            wide.stride,
            min(wide.first, other.first + min(drift, 0)),
            max(wide.last, other.last + max(drift, 0)),
            min(lows),
            max(highs),
        )

    def agrees(self, other: "Axis") -> bool:
        """Whether stride and centre are the same."""
        return (self.stride, self.start) == (other.stride, other.start)


@dataclass(frozen=True)
class Field:
    """The receptive fields of a feature map's cells in the network's input; every pair is (x, y).

    global_context: an earlier operation mixes the whole map (the pooling of squeeze-excitation, attention, a mean
        over space), so the whole image can affect every cell. Stride and start are still those of the grid.
    aligned: all paths through the network agree on stride and centre.
    """

    x: Axis
    y: Axis
    global_context: bool = False
    aligned: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """The pixels of one receptive field, padding included; with global context, all pixels that any cell takes."""
        if self.global_context:
            return self.x.high - self.x.low + 1, self.y.high - self.y.low + 1
        return self.x.size, self.y.size

    @property
    def stride(self) -> tuple[int, int]:
        """The number of pixels between neighbouring cells."""
        return self.x.stride, self.y.stride

    @property
    def start(self) -> tuple[float, float]:
        """The pixel at the centre of cell (0, 0), fractions of 1/2 allowed."""
        return self.x.start, self.y.start

    def box(self, u: int, v: int, *, clip: bool = True) -> tuple[int, int, int, int]:
        """The edges (left, top, right, bottom) of the pixels that can affect the cell in column u, row v.

        right and bottom are exclusive, so image[top:bottom, left:right] is the receptive field. clip=False counts
        padding as pixels, so the box can reach beyond the image. A cell that takes only padding has an
        empty box. With global context the box is the same for every cell.
        """
        (left, right), (top, bottom) = self._span(self.x, u, clip), self._span(self.y, v, clip)
        return left, top, right, bottom

    def _span(self, axis: Axis, cell: int, clip: bool) -> tuple[int, int]:
        first, last = axis.first + axis.stride * cell, axis.last + axis.stride * cell
        if self.global_context:
            first, last = axis.low, axis.high
        elif clip:
            first, last = max(first, axis.low), min(last, axis.high)
        return first, max(last + 1, first)

    def through(self, x: Window, y: Window, grid: tuple[int, int]) -> "Field":
        """The field after a layer that slides windows x and y over this `grid` (w, h)."""
        after = replace(self, x=self.x.through(x, grid[0]), y=self.y.through(y, grid[1]))
        return after.informed_by(self) if self.global_context else after

    def everywhere(self, grid: tuple[int, int]) -> "Field":
        """The field after an operation that mixes all cells of this `grid` (w, h)."""
        if self.global_context or grid == (1, 1):
            return self
        same = Window(1, 0, 0)
        return replace(self.through(same, same, grid), global_context=True)

    def join(self, other: "Field", grid: tuple[int, int]) -> "Field":
        """The union of two paths that end in the same `grid` (w, h), as in a sum or a concatenation."""
        agree = self.x.agrees(other.x) and self.y.agrees(other.y)
        x, y = self.x.join(other.x, grid[0]), self.y.join(other.y, grid[1])
        joined = Field(x, y, aligned=self.aligned and other.aligned and agree)
        for path in (self, other):
            joined = joined.informed_by(path) if path.global_context else joined
        return joined

    def informed_by(self, other: "Field") -> "Field":
        """The field when everything in the field of `other` also affects every cell, for example as a gain."""
        x = replace(self.x, low=min(self.x.low, other.x.low), high=max(self.x.high, other.x.high))
        y = replace(self.y, low=min(self.y.low, other.y.low), high=max(self.y.high, other.y.high))
        return replace(self, x=x, y=y, global_context=True)


def whole_image(width: int, height: int) -> Field:
    """The field of the image itself: each cell is its own pixel."""
    return Field(Axis(1, 0, 0, 0, width - 1), Axis(1, 0, 0, 0, height - 1))
