"""Geometry between the original photograph, the network's input and the layer's grid, both ways.

Three lattices, all in pixel-index coordinates (the centre of the first pixel is 0, x runs right, y down):

    original (W, H)  --Frame-->  input (w_in, h_in)  --Placement-->  grid (w, h)

A Frame is a box of the original resampled to the input, so a point maps by one affine function per axis.
A Placement says where a grid cell sits: cell u is at input pixel J u + s0, with J the layer's stride and s0
its offset. Nothing here resizes a map by S/n, which would misplace it by up to 19 px (Inception-v3).
"""

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from camserve.errors import OptionError, TooMuch, shown
from camserve.geometry import interpolation

Float32 = npt.NDArray[np.float32]
Pair = tuple[float, float]

_ASPECTS = 24  # steps between 1:1 and 2:1


@dataclass(frozen=True)
class Frame:
    """A box of the original photograph, resampled to the network's input.

    original: (W, H) of the upright photograph, pixels.
    box: (left, top, right, bottom) edges in the original, pixels, fractions allowed. The part of the box outside the
    photograph is black.
    input: (w, h) of the network's input, pixels.
    through: sizes (w, h) that the whole photograph is resized to first, one after the other; a box smaller than the
    photograph is then cut out of the last one, pixel for pixel. alone: the box has whole pixels and is cut out before
    it is resampled.
    """

    original: tuple[int, int]
    box: tuple[float, float, float, float]
    input: tuple[int, int]
    through: tuple[tuple[int, int], ...] = ()
    alone: bool = False

    @property
    def scale(self) -> Pair:
        """Input pixels per original pixel, (x, y)."""
        left, top, right, bottom = self.box
        return self.input[0] / (right - left), self.input[1] / (bottom - top)

    @property
    def sees_all(self) -> bool:
        """Whether the network's input shows the whole photograph."""
        return self.box == (0, 0, *self.original)

    @property
    def corner(self) -> tuple[int, int]:
        """The top left corner of the box in the photograph after the last resizing, (x, y)."""
        (width, height), (left, top, _, _) = self.through[-1], self.box
        return round(left * width / self.original[0]), round(top * height / self.original[1])

    def enlarged(self, factor: int) -> "Frame":
        """The same frame on a copy of the photograph that is `factor` times as wide and as high."""
        (width, height), (left, top, right, bottom) = self.original, self.box
        box = left * factor, top * factor, right * factor, bottom * factor
        return replace(self, original=(width * factor, height * factor), box=box)

    def resized(self, size: tuple[int, int]) -> "Frame":
        """The same frame on a copy of the photograph that has (w, h) pixels."""
        (width, height), (left, top, right, bottom) = self.original, self.box
        across, down = (
            (left * size[0] / width, right * size[0] / width),
            (top * size[1] / height, bottom * size[1] / height),
        )
        return replace(self, original=size, box=(across[0], down[0], across[1], down[1]))

    def to_input(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Convert a point (or arrays of points) of the original to the network's input."""
        (sx, sy), (left, top, _, _) = self.scale, self.box
        return (x + 0.5 - left) * sx - 0.5, (y + 0.5 - top) * sy - 0.5

    def to_original(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Convert a point (or arrays of points) of the network's input to the original."""
        (sx, sy), (left, top, _, _) = self.scale, self.box
        return (x + 0.5) / sx + left - 0.5, (y + 0.5) / sy + top - 0.5


def fit(original: tuple[int, int], short_side: int, *, max_aspect: float, multiple: int = 1) -> Frame:
    """The whole photograph with its short side resized to `short_side`. The aspect changes by at most 1/48.

    The aspect is rounded to a multiple of 1/24. The usual aspects of cameras (5:4, 4:3, 3:2) are exact, and a folder of
    photographs of any size needs few input sizes; an engine prepares itself once for each size.
    An aspect above max_aspect : 1 is squeezed to that ratio, so that a strip of 1 x 4000 pixels stays affordable.
    multiple: sides are rounded to multiples of this, because some networks take no others.
    """
    short = min(original)

    def side(n: int) -> int:
        aspect = min(round(_ASPECTS * n / short) / _ASPECTS, max_aspect)
        return max(1, round(short_side * aspect / multiple)) * multiple

    return Frame(original, (0, 0, *original), (side(original[0]), side(original[1])))


def crop(original: tuple[int, int], input: tuple[int, int], *, share: float) -> Frame:
    """The middle of the photograph as an input of (w, h) pixels, as a model's own evaluation crops it.

    The crop has the input's proportions. Its sides are `share` times those of the largest such box in the photograph;
    for a square input, `share` times the short side.
    """
    width, height = original
    if input[0] == input[1]:
        across = down = share * min(original)
    else:
        pixel = share * min(width / input[0], height / input[1])
        across, down = pixel * input[0], pixel * input[1]
    left, top = (width - across) / 2, (height - down) / 2
    return Frame(original, (left, top, left + across, top + down), input)


def squeezed(original: tuple[int, int], input: tuple[int, int]) -> Frame:
    """The whole photograph resized to an input of (w, h) pixels; its proportions are not kept."""
    return Frame(original, (0, 0, *original), input)


def native(original: tuple[int, int]) -> Frame:
    """The photograph as the input, pixel for pixel."""
    return Frame(original, (0, 0, *original), original)


def check_input_size(frame: Frame, max_megapixels: float) -> Frame:
    """Return `frame`. Raises OptionError if the network's input is larger than the limit."""
    width, height = frame.input
    if width * height > max_megapixels * 1e6:
        raise OptionError(
            f"the network's input would be {width} x {height} = {width * height / 1e6:.1f} megapixels; allowed "
            f"are {max_megapixels:g} (explain.max_input_megapixels). Try size=fit or a smaller size."
        )
    return frame


def check_cells(size: tuple[int, int], output_stride: int, most: int) -> None:
    """Raises TooMuch if a map with a cell every `output_stride` pixels of `size` (w, h) has more than `most` cells."""
    across, down = (math.ceil(side / output_stride) for side in size)
    if across * down > most:
        raise TooMuch(
            f"output_stride {output_stride} on an input of {size[0]} x {size[1]} pixels makes {across} x {down} = "
            f"{across * down} cells; allowed are {most} (explain.max_cells). Try a larger output_stride or a smaller "
            "size."
        )


@dataclass(frozen=True)
class Placement:
    """Where the cells of a layer's grid lie in the original photograph.

    frame: how the photograph became the input. grid: (w, h) cells.
    stride: input pixels between neighbouring cells, (x, y). offset: the input pixel of the first cell, (x, y).
    rule: how the offset was found: "centred", "calibrated" (docs/geometry.md), or "input" where cells are input pixels.
    """

    frame: Frame
    grid: tuple[int, int]
    stride: Pair
    offset: Pair
    rule: str = "centred"

    def cell_centre(self, u: Any, v: Any) -> tuple[Any, Any]:
        """The original pixel (x, y) at the centre of the cell in column u, row v (or arrays). Raises OptionError."""
        u, v = _numbers("column", u), _numbers("row", v)
        return self.frame.to_original(self.stride[0] * u + self.offset[0], self.stride[1] * v + self.offset[1])

    def cell_at(self, x: Any, y: Any) -> tuple[Any, Any]:
        """The grid coordinates (u, v) of a point (or arrays of points) of the original: fractions, not clamped.

        Raises OptionError for a value that is not a number.
        """
        x, y = _numbers("x", x), _numbers("y", y)
        across, down = self.frame.to_input(x, y)
        return (across - self.offset[0]) / self.stride[0], (down - self.offset[1]) / self.stride[1]

    @property
    def mirrored(self) -> "Placement":
        """The placement of a map that was made from the mirrored input and then mirrored back."""
        last = self.stride[0] * (self.grid[0] - 1) + self.offset[0]
        return replace(self, offset=(self.frame.input[0] - 1 - last, self.offset[1]))

    def enlarged(self, factor: int) -> "Placement":
        """The same placement on a copy of the photograph that is `factor` times as wide and as high."""
        return replace(self, frame=self.frame.enlarged(factor))

    def resized(self, size: tuple[int, int]) -> "Placement":
        """The same placement on a copy of the photograph that has (w, h) pixels."""
        return replace(self, frame=self.frame.resized(size))

    def rows(self, grid_map: Float32, first: int, last: int) -> Float32:
        """Rows first..last-1 of `grid_map` (h, w) laid over the original: float32 (last - first, W).

        Bilinear between cell centres, constant beyond the outermost centres, NaN outside the frame's box.
        """
        (width, _), (left, top, right, bottom) = self.frame.original, self.frame.box
        x, y = np.arange(width), np.arange(first, last)
        u, v = self.cell_at(x, y)
        placed = interpolation.over(grid_map, u, v)
        if not self.frame.sees_all:
            placed[(y + 0.5 < top) | (y + 0.5 > bottom), :] = np.nan
            placed[:, (x + 0.5 < left) | (x + 0.5 > right)] = np.nan
        return placed


def _numbers(name: str, value: Any) -> Any:
    """A number as float, or an array of numbers unchanged. Raises OptionError, which calls the value `name`."""
    with suppress(Exception):  # a user's own class, rows of different lengths, more digits than a float holds
        if isinstance(value, Real) and not isinstance(value, bool):
            return float(value)
        if (array := np.asarray(value)).dtype.kind in "iuf":
            return value if hasattr(value, "dtype") else array
    raise OptionError(f"{name} {shown(value)} is neither a number nor an array of numbers")


def spreading(placement: Placement) -> tuple[Float32, Float32]:
    """Matrices that lay maps over the original: rows (H, h) and columns (W, w), placed = rows @ map @ columns.T."""
    width, height = placement.frame.original
    u, v = placement.cell_at(np.arange(width), np.arange(height))
    eye_down, eye_across = np.eye(placement.grid[1], dtype=np.float32), np.eye(placement.grid[0], dtype=np.float32)
    return interpolation.across(eye_down, v).T, interpolation.across(eye_across, u).T


def resample(grid_map: Float32, source: Placement, onto: Placement) -> Float32:
    """Resample `grid_map` (h, w) from the cells of `source` to those of `onto`: bilinear, constant beyond the edges.

    The two placements may belong to different inputs made from one photograph.
    """
    u, v = source.cell_at(*onto.cell_centre(np.arange(onto.grid[0]), np.arange(onto.grid[1])))
    return interpolation.across(interpolation.across(grid_map.T, v).T, u)
