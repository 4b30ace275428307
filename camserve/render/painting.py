"""Paint heat in colours over a photograph, strip by strip: the functions that overlays, legends and regions share.

Heat comes as a function, so that no float map of a whole large photograph is needed: `rows(first, last)` gives rows
first..last-1 as float32 (last - first, W), 0..1, NaN where the network saw nothing. `Placement.rows` is such a
function.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from camserve.catalogue.numbers import number_within
from camserve.geometry import interpolation
from camserve.geometry.laid import Laid, Lines, lines_at
from camserve.render.canvas import Canvas, block_of
from camserve.render.native_painter import paint_strip
from camserve.system.deadlines import check_deadline

Heat = npt.NDArray[np.float32]
Rows = Callable[[int, int], Heat]

# Heat below the first is clear, above the second fully opaque. Most backgrounds have up to a tenth of the maximum and
# stay a photograph; half of the maximum is clearly visible.
_CLEAR_TO, _OPAQUE_FROM = 0.1, 0.7
# How much of the photograph's local contrast the paint gets. Local contrast is the difference from the mean around a
# pixel: with the luminance itself, dark objects would look cold.
_TEXTURE = 0.8
_VEIL = [round(56 + 0.4 * level) for level in range(256)]  # lightens dark and darkens light pixels
ROOMY = 256  # pixels: with at least this long side, a photograph has room for words
LIGHT, DARK = (255, 255, 255), (16, 16, 18)  # lines and letters, which must be visible on every photograph
_STRIP_PIXELS = 2**18


def opacity_of(alpha: float, *, signed: bool = False) -> tuple[int, ...]:
    """Return the opacity, 0..255, of each level of heat: a smooth step from 0 to alpha. Raises OptionError.

    signed: levels run from -1 to 1, and opacity depends on the distance from 0.
    """
    return _opacity_of(checked_share("alpha", alpha), signed)


@lru_cache(maxsize=64)
def _opacity_of(alpha: float, signed: bool) -> tuple[int, ...]:
    heat = np.arange(256) / 255
    strength = np.abs(2 * heat - 1) if signed else heat
    rise = np.clip((strength - _CLEAR_TO) / (_OPAQUE_FROM - _CLEAR_TO), 0, 1)
    return tuple(round(255 * alpha * t * t * (3 - 2 * t)) for t in rise.tolist())


def paint(canvas: Canvas, rows: Rows, palette: bytes, opacity: Sequence[int], *, signed: bool = False) -> bool:
    """Paint the heat over `canvas`, and grey where the model saw nothing. Returns whether it saw everything.

    signed: the heat runs from -1 to 1, and 0 is the middle of the palette.
    """
    if canvas.memory is None:
        return _paint_by_numpy(canvas, _from_middle(rows) if signed else rows, palette, tuple(opacity))
    heat, around = rows.lines() if isinstance(rows, Laid) else rows, _Surroundings(canvas).lines
    inks, veil = _colours(palette, tuple(opacity)), np.array(_VEIL, np.uint8)
    all_seen = True
    for first, last in strips(canvas.image.size):
        part = heat if isinstance(heat, Lines) else heat(first, last)
        all_seen &= paint_strip(canvas.memory, (first, last), part, around, inks, veil, signed=signed)
    return all_seen


@lru_cache(maxsize=64)
def _colours(palette: bytes, opacity: tuple[int, ...]) -> npt.NDArray[np.uint32]:
    """Return RGB and opacity of each level, as one number in memory order."""
    colours = np.empty((256, 4), np.uint8)
    colours[:, :3] = np.frombuffer(palette, np.uint8).reshape(256, 3)
    colours[:, 3] = opacity
    return colours.view(np.uint32)[:, 0]


def _from_middle(rows: Rows) -> Rows:
    """Map -1..1 to levels of a palette over 255, 128 for each sign, so that a reversed palette swaps the signs."""
    return lambda first, last: ((rows(first, last) + 1) * 128 - 0.5).astype(np.float32) / np.float32(255)


def _paint_by_numpy(whole: Canvas, rows: Rows, palette: bytes, opacity: tuple[int, ...]) -> bool:
    """Do what `paint` does, for levels 0..1; painter.c does the same."""
    all_seen, inks, mean, canvas = True, _inks(palette, opacity), _Surroundings(whole), whole.image
    for first, last in strips(canvas.size):
        heat = rows(first, last)
        levels, unseen = levels_of(heat), np.isnan(heat)
        veiled = canvas.crop((0, first, canvas.width, last)).convert("L").point(_VEIL) if unseen.any() else None
        box = Image.fromarray(levels).point(opacity).getbbox()  # most of a photograph is cold and unchanged
        if box is not None:
            left, top, right, bottom = box
            place = (left, first + top, right, first + bottom)
            index = levels[top:bottom, left:right].astype(np.uint16)
            index <<= 8
            index |= _texture(canvas.crop(place), mean.rows(*place))
            paint = Image.frombuffer("RGBA", (right - left, bottom - top), inks.take(index), "raw", "RGBA", 0, 1)
            canvas.paste(paint, place, paint)
        if veiled is not None:
            all_seen = False
            canvas.paste(veiled.convert("RGB"), (0, first), mask_of(unseen))
    return all_seen


@lru_cache(maxsize=16)
def _inks(palette: bytes, opacity: tuple[int, ...]) -> npt.NDArray[np.uint32]:
    """Return the paint, RGBA as one number in memory order, at [256 level + texture]; 128 means no texture."""
    colour = np.frombuffer(palette, np.uint8).reshape(256, 1, 3).astype(np.int16)
    inks = np.empty((256, 256, 4), np.uint8)
    inks[..., :3] = np.clip(colour + (np.arange(256, dtype=np.int16) - 128)[:, None], 0, 255)
    inks[..., 3] = np.array(opacity, np.uint8)[:, None]
    return inks.reshape(-1).view(np.uint32)


class _Surroundings:
    """The mean luminance around each pixel of a photograph, 0..255, before it is painted."""

    def __init__(self, canvas: Canvas) -> None:
        (width, self._height), self._block = canvas.image.size, block_of(canvas.image.size)
        self._wide = np.asarray(widen(canvas.blocks.convert("L"), self._block, width), np.float32)

    @property
    def lines(self) -> Lines:
        """Return the means of the whole photograph, to be computed later."""
        return lines_at(self._wide, self._positions(0, self._height))

    def _positions(self, top: int, bottom: int) -> npt.NDArray[np.float64]:
        positions: npt.NDArray[np.float64] = (np.arange(top, bottom) + 0.5) / self._block - 0.5
        return positions

    def rows(self, left: int, top: int, right: int, bottom: int) -> Heat:
        """Return the means of a box of pixels, float32 (bottom - top, right - left)."""
        return interpolation.down(self._wide[:, left:right], self._positions(top, bottom))


def _texture(part: Image.Image, around: Heat) -> npt.NDArray[np.uint8]:
    """Return the local contrast of a part of a photograph, 128 for none. around: of `_Surroundings`; it is changed."""
    around -= np.asarray(part.convert("L"))
    around *= np.float32(-_TEXTURE)
    around += np.float32(128.5)
    np.clip(around, 0, 255, out=around)
    return around.astype(np.uint8)


def widen(small: Image.Image, factor: int, width: int) -> Image.Image:
    """Make `small` `factor` times wider, cut at `width` pixels."""
    part = (0, 0, width / factor, small.height)
    return small.resize((width, small.height), Image.Resampling.BILINEAR, part)


def stretch(wide: Image.Image, factor: int, first: int, last: int) -> Image.Image:
    """Return rows first..last-1 of `wide` made `factor` times higher.

    The factor is a power of two, and width and height grow in separate steps: so the bits do not depend on the height
    of a strip.
    """
    part = (0, first / factor, wide.width, last / factor)
    return wide.resize((wide.width, last - first), Image.Resampling.BILINEAR, part)


def strips(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of each strip of rows first..last-1, from the top. Raises DeadlinePassed between strips."""
    height = max(16, _STRIP_PIXELS // size[0])
    for first in range(0, size[1], height):
        check_deadline()
        yield first, min(first + height, size[1])


def levels_of(heat: Heat) -> npt.NDArray[np.uint8]:
    """Return heat 0..1 as levels 0..255; 0 where the model saw nothing."""
    levels: Heat = heat * np.float32(255)
    levels += np.float32(0.5)
    if not (heat.min() >= 0 and heat.max() <= 1):  # also true for NaN
        np.fmax(levels, 0, out=levels)  # fmax of NaN and a number is the number
        np.fmin(levels, 255, out=levels)
    return levels.astype(np.uint8)


def mask_of(places: npt.NDArray[np.bool_]) -> Image.Image:
    """Return `places` (H, W) as a picture, mode L: 255 where true."""
    return Image.fromarray(places.view(np.uint8) * np.uint8(255))


def checked_share(name: str, value: float) -> float:
    """Return `value` if it is 0..1. Raises OptionError with `name`."""
    return number_within(name, value, 0, 1)


def enlargement(size: tuple[int, int], side: int = ROOMY) -> int:
    """Return the whole factor by which a photograph of (W, H) pixels is enlarged so that its long side has `side`.

    It is 1 if the photograph is large enough. side: the default gives room for words.
    """
    return math.ceil(side / max(size))


def enlarged(photo: Image.Image, factor: int) -> Image.Image:
    """Return a copy that is `factor` times as wide and as high: each pixel becomes a square, without interpolation."""
    if factor == 1:
        return photo.copy()
    return photo.resize((photo.width * factor, photo.height * factor), Image.Resampling.NEAREST)


def side_of(size: tuple[int, int]) -> float:
    """Return the side of a square with as many pixels: text and textures scale with it."""
    return math.sqrt(size[0] * size[1])
