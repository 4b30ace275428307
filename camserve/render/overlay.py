"""Turn heat into pictures: the overlay with its lines and boxes, and the heatmap, in the photograph's own pixels.

Heat comes as a function of rows, see painting.py. Lines are found on a sample of at most 2^20 pixels. Any number of
threads may render at once.
"""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from camserve.catalogue.colormaps import COLORMAPS, SIGNED_COLORMAPS, colormap_names, colours
from camserve.render.canvas import Canvas, Pixels, block_of, canvas_of
from camserve.render.legend import Legend, place_legend
from camserve.render.painting import (
    DARK,
    LIGHT,
    Rows,
    checked_share,
    levels_of,
    mask_of,
    opacity_of,
    paint,
    side_of,
    stretch,
    strips,
    widen,
)
from camserve.render.regions import Box, sample

__all__ = ["COLORMAPS", "SIGNED_COLORMAPS", "colormap_names", "colours", "heat_image", "overlay"]


def overlay(
    photo: Pixels | Image.Image,
    rows: Rows,
    *,
    colormap: str,
    alpha: float,
    contour: float | None = None,
    boxes: Sequence[Box] = (),
    legend: Legend | None = None,
    painted: Rows | None = None,
    signed: bool = False,
    native: bool = True,
    grey: bool = False,
) -> Canvas:
    """Paint the heat over the photograph, pixels (H, W, 3) or a Pillow image. Returns RGB of the photograph's size.

    Where the heat is at most 0.1, the photograph stays unchanged, bit for bit; from 0.1 to 0.7 opacity grows to alpha.
    Pixels that the network did not see are grey and framed, never painted.
    colormap: see `colours`. alpha: opacity of hot places, 0..1. contour: the heat, 0..1, at which a line is drawn.
    legend: in the coldest corner, or below if readable text would hide more than a quarter of the picture.
    painted: the values that the colours show, if they have another scale than `rows`; values above 1 count as 1.
    signed: the values run from -1 to 1, opacity grows in both directions, and 0 is the middle of the colour map.
    native: use compiled code if there is any; the picture is the same. grey: show the photograph without colours.
    Raises OptionError, UnknownName.
    """
    palette, opacity = colours(colormap), opacity_of(alpha, signed=signed)
    level = None if contour is None else checked_share("contour", contour)
    shown, whole = painted or rows, canvas_of(_greyed(photo) if grey else photo, native=native)
    all_seen, canvas = paint(whole, shown, palette, opacity, signed=signed), whole.image
    for box in boxes:
        _draw_box(canvas, box)
    if all_seen and level is None and legend is None:
        return whole
    heat, step = sample(rows, canvas.size)
    _outline(canvas, np.isnan(heat), step)
    if level is not None:
        _outline(canvas, heat >= level, step)
    if legend is not None:
        lettered = place_legend(canvas, legend, np.abs(sample(shown, canvas.size)[0]), step, palette, opacity)
        if lettered is not canvas:
            return Canvas(lettered, lettered.reduce(block_of(lettered.size)))
    return whole


def _greyed(photo: Pixels | Image.Image) -> Image.Image:
    return (photo if isinstance(photo, Image.Image) else Image.fromarray(photo)).convert("L")


def heat_image(rows: Rows, size: tuple[int, int]) -> Image.Image:
    """Return the heatmap as a picture, 0 black to 1 white: mode L, or LA with alpha 0 where nothing was seen.

    size: (W, H) of the original, pixels.
    """
    grey, seen = Image.new("L", size), Image.new("L", size, 255)
    for first, last in strips(size):
        heat = rows(first, last)
        grey.paste(Image.fromarray(levels_of(heat)), (0, first))
        seen.paste(0, (0, first), mask_of(np.isnan(heat)))
    return grey if seen.getextrema() == (255, 255) else Image.merge("LA", (grey, seen))


def mask_image(rows: Rows, size: tuple[int, int], *, threshold: float) -> Image.Image:
    """Return a mask, mode L: 255 where the heat reaches `threshold`, 0..1, else 0. size: (W, H) of the original."""
    share = checked_share("threshold", threshold)
    mask = Image.new("L", size)
    for first, last in strips(size):
        mask.paste(mask_of(rows(first, last) >= share), (0, first))
    return mask


def _outline(canvas: Image.Image, inside: npt.NDArray[np.bool_], step: int) -> None:
    """Draw a light line with dark sides along the edge of `inside`, a sample of every `step` pixels."""
    if inside.all() or not inside.any():
        return
    unit = _unit(canvas.size) / step
    blurred = mask_of(inside).filter(ImageFilter.GaussianBlur(1.5 * unit))
    light = max(2 / step, 1.5 * unit)  # a thinner line would be grey: an edge lies between two pixels
    for colour, width in ((DARK, light + 2 * unit), (LIGHT, light)):
        line = widen(blurred.point(_line(width, 1.5 * unit)), step, canvas.width)
        for first, last in strips(canvas.size):
            canvas.paste(colour, (0, first), stretch(line, step, first, last))


def _line(width: float, blur: float) -> list[int]:
    """Return the opacity, 0..255, of a line for each level of a blurred edge: the level gives the distance."""
    normal = NormalDist(0, blur)
    distances = [abs(normal.inv_cdf((level + 0.5) / 256)) for level in range(256)]
    return [round(255 * min(max(width / 2 + 0.5 - distance, 0), 1)) for distance in distances]


def _draw_box(canvas: Image.Image, box: Box) -> None:
    draw, unit = ImageDraw.Draw(canvas), _unit(canvas.size)
    side, line = max(1, round(unit)), max(1, round(1.5 * unit))
    left, top, right, bottom = box.left, box.top, box.right - 1, box.bottom - 1
    outer = (left - side, top - side, right + side, bottom + side)
    draw.rectangle(outer, outline=DARK, width=line + 2 * side)
    draw.rectangle((left, top, right, bottom), outline=LIGHT, width=line)


def _unit(size: tuple[int, int]) -> float:
    """Return the thickness, in pixels, of a fine line on a photograph of this size."""
    return max(0.6, side_of(size) / 500)
