"""Sketches: maps reduced to 256 numbers, which are kept to compare and add up maps without the pictures.

A sketch is float32 (16, 16) over the upright photograph of any size: the mean of the raw map in each cell, signed, as a
share of the largest magnitude; NaN where the model did not see the photograph. In results.jsonl it is 256 bytes in
base64.
"""

import base64
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from camserve.geometry.frame import Frame, Placement, spreading

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

SIDE = 16
BORDER, CORNER = 2, 4  # cells: an eighth of the photograph on each side, a quarter by a quarter in each corner
_FINE = 8  # sample points across each cell
_UNSEEN = -128


def sketch_of(grid_map: Float32, placement: Placement) -> Float32:
    """The sketch of a raw map (h, w). placement: where its cells lie."""
    # the photograph is treated as 128 x 128 pixels, so that large photographs do not take longer
    points, frame = SIDE * _FINE, placement.frame
    (width, height), (left, top, right, bottom) = frame.original, frame.box
    x, y = points / width, points / height
    square = Frame((points, points), (left * x, top * y, right * x, bottom * y), frame.input)
    finite = np.nan_to_num(grid_map, nan=0, posinf=0, neginf=0)
    down, across = _averaging(replace(placement, frame=square))
    means = down @ finite.astype(np.float64) @ across
    peak = np.nanmax(np.abs(means), initial=0)
    return (means / peak if peak > 0 else means).astype(np.float32)


@lru_cache(maxsize=256)
def _averaging(placement: Placement) -> tuple[Float64, Float64]:
    """The matrices (16, h) and (w, 16) that average a map (h, w) over the cells of a sketch; NaN for unseen cells.

    placement: in a photograph of 128 x 128. Placing and averaging a map are linear and separate for each axis.
    """
    (left, top, right, bottom), points = placement.frame.box, np.arange(SIDE * _FINE) + 0.5
    made = []
    for spread, low, high in zip(spreading(placement), (top, left), (bottom, right), strict=True):
        seen = (points >= low) & (points <= high)
        number = seen.reshape(SIDE, _FINE).sum(1)[:, None]
        total = np.where(seen[:, None], spread, 0).reshape(SIDE, _FINE, -1).sum(1, dtype=np.float64)
        made.append(np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0))
    return made[0], made[1].T


def to_text(sketch: Float32) -> str:
    """Base64 of 256 signed bytes, row by row: 127 times the share; -128 for unseen cells."""
    levels = np.where(np.isnan(sketch), _UNSEEN, np.rint(127 * np.nan_to_num(sketch)))
    return base64.b64encode(levels.astype(np.int8).tobytes()).decode()


def from_text(text: str) -> Float32:
    """The sketch that `to_text` wrote, within 1/254."""
    levels = np.frombuffer(base64.b64decode(text), np.int8).reshape(SIDE, SIDE).astype(np.float32)
    return np.where(levels == _UNSEEN, np.float32(np.nan), levels / 127)


def heat_of(sketch: Float32) -> npt.NDArray[np.float64]:
    """The positive part as shares of its sum, (16, 16); 0 in unseen cells, and everywhere if no value is positive."""
    heat = np.maximum(np.nan_to_num(sketch.astype(np.float64)), 0)
    total = heat.sum()
    return heat / total if total > 0 else heat


def hot_cells(sketch: Float32, threshold: float = 0.5) -> npt.NDArray[np.bool_]:
    """The cells whose heat reaches `threshold` of the maximum, bool (16, 16); no cell if there is no heat."""
    heat = np.maximum(np.nan_to_num(sketch), 0)
    hot: npt.NDArray[np.bool_] = (heat >= threshold * heat.max()) & (heat > 0)
    return hot


def _ring() -> npt.NDArray[np.bool_]:
    inside = np.zeros((SIDE, SIDE), bool)
    inside[BORDER:-BORDER, BORDER:-BORDER] = True
    return ~inside


def _corners() -> npt.NDArray[np.bool_]:
    end = (np.arange(SIDE) < CORNER) | (np.arange(SIDE) >= SIDE - CORNER)
    corners: npt.NDArray[np.bool_] = end[:, None] & end[None, :]
    return corners


RING, CORNERS = _ring(), _corners()
EVEN_BORDER, EVEN_CORNERS = float(RING.mean()), float(CORNERS.mean())  # the shares of a constant map


def shares(sketch: Float32) -> tuple[float, float] | None:
    """The shares of the heat on the border and in the corners, 0..1; None if there is no heat."""
    heat = heat_of(sketch)
    if not heat.any():
        return None
    return float(heat[RING].sum()), float(heat[CORNERS].sum())
