"""Heat to pictures: the overlay, the heatmap, boxes and a legend, all on the original photograph's pixels.

Heat comes as a function, so that no float map of a large photograph ever exists: `rows(first, last)` gives
rows first..last-1 as float32 (last - first, W), 0..1, NaN where the network saw nothing. `Placement.rows`
is one. Painting is Pillow's 8-bit arithmetic, strip by strip; lines and boxes are found on a sample of at
most 2^20 pixels. Any number of threads may render at once.
"""

import math
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from camserve.errors import OptionError, UnknownName

Heat = npt.NDArray[np.float32]
Rows = Callable[[int, int], Heat]
Indices = npt.NDArray[np.intp]

# Even in lightness and safe for colour-blind readers, but for the last two, which people ask for by name.
COLORMAPS = ("inferno", "plasma", "magma", "viridis", "cividis", "batlow", "turbo", "jet")

# Heat below the first is clear, above the second fully opaque: a background that carries a tenth of the
# maximum, as most do, stays a photograph, and half of the maximum is plain to see.
_CLEAR_TO, _OPAQUE_FROM = 0.1, 0.7
# How much of the photograph's local contrast is put on the paint. Only the difference from the surroundings'
# mean: with the luminance itself, dark objects would look cold.
_TEXTURE = 0.8
_VEIL = [round(56 + 0.4 * level) for level in range(256)]  # lifts night and dims snow: unseen shows on both
_LIGHT, _DARK, _GREY = (255, 255, 255), (16, 16, 18), (128, 128, 128)
_STRIP_PIXELS = 2**18
_SAMPLE_PIXELS = 2**20
_LEAST_TEXT = 10  # pixels; smaller letters cannot be read


@dataclass(frozen=True)
class Box:
    """The bounds of one connected hot region, in pixels of the original; right and bottom are exclusive.

    peak: the region's largest heat, 0..1. share: how much of all the photograph's heat is the region's, 0..1.
    """

    left: int
    top: int
    right: int
    bottom: int
    peak: float
    share: float


@dataclass(frozen=True)
class Legend:
    """What the colours mean, in the caller's words.

    caption: above the colour bar, such as "Egyptian cat 0.42". low, high: below its ends, such as "0" and
    "15.2 logits". Letters outside ASCII lose their accents or become "?": Pillow's built-in font has no more.
    """

    caption: str
    low: str
    high: str


def colormap_names() -> list[str]:
    """Every colour map there is: COLORMAPS first, then the rest of cmap's catalogue by name."""
    from cmap import Colormap

    return [*COLORMAPS, *sorted(Colormap.catalog().short_keys() - set(COLORMAPS))]


@lru_cache(maxsize=64)
def colours(colormap: str) -> bytes:
    """The 256 RGB triples of a colour map, coldest first.

    colormap: a name of cmap's catalogue; with "_r" at its end, turned round. Raises UnknownName.
    """
    from cmap import Colormap

    try:
        full_name = Colormap.catalog().resolve(colormap.removesuffix("_r"))
    except KeyError:
        raise UnknownName("colour map", colormap, colormap_names()) from None
    table = np.rint(255 * Colormap(full_name)(np.linspace(0, 1, 256)))[:, :3].astype(np.uint8)
    return bytes((table[::-1] if colormap.endswith("_r") else table).tobytes())


def overlay(
    photo: Image.Image,
    rows: Rows,
    *,
    colormap: str,
    alpha: float,
    contour: float | None = None,
    boxes: Sequence[Box] = (),
    legend: Legend | None = None,
) -> Image.Image:
    """The heat painted over the photograph: RGB, of the photograph's size.

    Heat up to 0.1 leaves the photograph bit for bit; from there opacity grows, to alpha at 0.7. What the
    network did not see is greyed and framed, never painted.
    colormap: see `colours`. alpha: opacity of hot places, 0..1. contour: heat, 0..1, at which a line is
    drawn. legend: in the coldest corner; left out where readable text would hide more than a quarter.
    Raises OptionError, UnknownName.
    """
    palette, opacity = colours(colormap), _opacity(alpha)
    level = None if contour is None else _share("contour", contour)
    canvas = photo.convert("RGB")
    all_seen = _paint(canvas, rows, palette, opacity)
    for box in boxes:
        _draw_box(canvas, box)
    if all_seen and level is None and legend is None:
        return canvas
    heat, step = _sample(rows, canvas.size)
    _outline(canvas, np.isnan(heat), step)
    if level is not None:
        _outline(canvas, heat >= level, step)
    if legend is not None:
        _place_legend(canvas, legend, heat, step, palette, opacity)
    return canvas


def heat_image(rows: Rows, size: tuple[int, int]) -> Image.Image:
    """The heatmap as a picture, 0 black to 1 white: mode L, or LA with alpha 0 where nothing was seen.

    size: (W, H) of the original, pixels.
    """
    grey, seen = Image.new("L", size), Image.new("L", size, 255)
    for first, last in _strips(size):
        heat = rows(first, last)
        grey.paste(Image.fromarray(_levels(heat)), (0, first))
        seen.paste(0, (0, first), _mask(np.isnan(heat)))
    return grey if seen.getextrema() == (255, 255) else Image.merge("LA", (grey, seen))


def find_boxes(rows: Rows, size: tuple[int, int], *, threshold: float) -> list[Box]:
    """The connected regions of heat >= threshold, the one with most heat first; touching corners connect.

    size: (W, H) of the original, pixels. threshold: 0..1. Exact up to 2^20 pixels; on larger photographs
    within the sampling step of 2, 4, 8 ... pixels that keeps to that number. Raises OptionError.
    """
    heat, step = _sample(rows, size)
    whole = float(np.nansum(heat, dtype=np.float64)) or 1.0  # no heat anywhere: no region has a share of it
    found = []
    for left, top, right, bottom, peak, total in _regions(heat, _share("threshold", threshold)):
        right, bottom = min(right * step, size[0]), min(bottom * step, size[1])
        found.append(Box(left * step, top * step, right, bottom, peak, total / whole))
    return sorted(found, key=lambda box: (-box.share, box.top, box.left))


def _regions(heat: Heat, threshold: float) -> Iterator[tuple[int, int, int, int, float, float]]:
    """Left, top, right, bottom, peak and sum of each region of `heat`, in its own pixels."""
    # With the margin no run of hot pixels goes on into the next row; below 0 it is colder than any threshold.
    padded = np.pad(np.nan_to_num(heat, nan=-1), 1, constant_values=-1)
    flat, stride = padded.ravel(), padded.shape[1]
    edges = np.flatnonzero(np.diff(flat >= threshold)) + 1
    if not len(edges):
        return iter(())
    starts, ends = edges[::2], edges[1::2]
    region = _connect(starts, ends, stride)
    order = np.argsort(region, kind="stable")
    firsts = np.flatnonzero(np.diff(region[order], prepend=-1))
    columns = (
        (np.minimum, starts % stride - 1),
        (np.minimum, starts // stride - 1),
        (np.maximum, ends % stride - 1),
        (np.maximum, starts // stride),
        (np.maximum, np.maximum.reduceat(flat, edges)[::2]),
        (np.add, np.add.reduceat(flat, edges, dtype=np.float64)[::2]),
    )
    return zip(*(function.reduceat(run[order], firsts).tolist() for function, run in columns), strict=True)


def _connect(starts: Indices, ends: Indices, stride: int) -> Indices:
    """The region of each run of hot pixels, by union-find: the number of the region's first run.

    starts, ends: flat indices, ends exclusive, into an image of `stride` columns with a cold margin.
    """
    parent = list(range(len(starts)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = run = parent[parent[run]]
        return run

    above = np.searchsorted(ends, starts - stride), np.searchsorted(starts, ends - stride, side="right")
    for run, (first, last) in enumerate(np.transpose(above).tolist()):
        for other in range(first, last):
            one, two = root(run), root(other)
            parent[max(one, two)] = min(one, two)
    return np.array([root(run) for run in range(len(parent))])


def legend_image(legend: Legend, *, colormap: str, alpha: float, text_height: int) -> Image.Image:
    """The legend on its own, RGB, as large as its words need: for beside a photograph.

    The bar shows the colours as they look on mid-grey. text_height: pixels. Raises OptionError, UnknownName.
    """
    return _legend_plate(legend, colours(colormap), _opacity(alpha), text_height)


def _legend_plate(legend: Legend, palette: bytes, opacity: list[int], em: int) -> Image.Image:
    font, small = ImageFont.load_default(size=em), ImageFont.load_default(size=0.85 * em)
    caption, low, high = _ascii(legend.caption), _ascii(legend.low), _ascii(legend.high)
    needed = font.getlength(caption), small.getlength(f"{low}    {high}")
    width, left, top = math.ceil(max(8 * em, *needed)), round(0.8 * em), round(1.35 * em if caption else 0)
    bar, ramp = Image.new("RGB", (width, round(0.7 * em)), _GREY), np.linspace(0, 1, width, dtype=np.float32)
    _paint(bar, lambda first, last: np.tile(ramp, (last - first, 1)), palette, opacity)
    plate = Image.new("RGB", (width + 2 * left, top + 3 * em), _DARK)
    plate.paste(bar, (left, top + round(0.8 * em)))
    draw = ImageDraw.Draw(plate)
    draw.text((left, 1.5 * em), caption, font=font, fill=_LIGHT, anchor="ls")
    draw.text((left, top + 2.4 * em), low, font=small, fill=_LIGHT, anchor="ls")
    draw.text((left + width, top + 2.4 * em), high, font=small, fill=_LIGHT, anchor="rs")
    return plate


def _place_legend(
    canvas: Image.Image, legend: Legend, heat: Heat, step: int, palette: bytes, opacity: list[int]
) -> None:
    """Pastes the legend into the corner with the least heat, in the largest readable text that fits."""
    for share in (1, 0.75, 0.5, 0):
        em = max(_LEAST_TEXT, round(share * _side(canvas.size) / 32))
        plate, gap = _legend_plate(legend, palette, opacity, em), em // 2
        right, bottom = canvas.width - plate.width - gap, canvas.height - plate.height - gap
        if right >= gap and bottom >= gap and 4 * plate.width * plate.height <= canvas.width * canvas.height:
            corners = [(x, y) for y in (bottom, gap) for x in (gap, right)]
            beyond = [np.nan_to_num(heat[y // step :, x // step :]) for x, y in corners]
            means = [part[: plate.height // step, : plate.width // step].mean() for part in beyond]
            canvas.paste(plate, corners[int(np.argmin(means))])
            break


def _paint(canvas: Image.Image, rows: Rows, palette: bytes, opacity: list[int]) -> bool:
    """Lays the heat over `canvas`, and a veil over what was not seen. Whether everything was."""
    all_seen = True
    block = 2 ** max(1, round(math.log2(0.03 * _side(canvas.size))))
    mean = _widen(canvas.reduce(block).convert("L"), block, canvas.width)
    for first, last in _strips(canvas.size):
        heat = rows(first, last)
        levels, unseen = Image.fromarray(_levels(heat)), np.isnan(heat)
        luminance = canvas.crop((0, first, canvas.width, last)).convert("L")
        around = _stretch(mean, block, first, last)
        texture = ImageChops.subtract(luminance, around, 1 / _TEXTURE, 128).convert("RGB")
        opaque = levels.point(opacity)
        levels.putpalette(palette)
        canvas.paste(ImageChops.add(levels.convert("RGB"), texture, 1, -128), (0, first), opaque)
        if unseen.any():
            all_seen = False
            canvas.paste(luminance.point(_VEIL).convert("RGB"), (0, first), _mask(unseen))
    return all_seen


def _outline(canvas: Image.Image, inside: npt.NDArray[np.bool_], step: int) -> None:
    """Draws a light line with dark sides along the edge of `inside`, a sample of every `step` pixels."""
    if inside.all() or not inside.any():
        return
    unit = _unit(canvas.size) / step
    blurred = _mask(inside).filter(ImageFilter.GaussianBlur(1.5 * unit))
    light = max(2 / step, 1.5 * unit)  # less than 2 pixels would be grey: an edge lies between two pixels
    for colour, width in ((_DARK, light + 2 * unit), (_LIGHT, light)):
        line = _widen(blurred.point(_line(width, 1.5 * unit)), step, canvas.width)
        for first, last in _strips(canvas.size):
            canvas.paste(colour, (0, first), _stretch(line, step, first, last))


def _line(width: float, blur: float) -> list[int]:
    """The cover, 0..255, of a line along a blurred edge: the blurred level tells how far away the edge is."""
    normal = NormalDist(0, blur)
    distances = [abs(normal.inv_cdf((level + 0.5) / 256)) for level in range(256)]
    return [round(255 * min(max(width / 2 + 0.5 - distance, 0), 1)) for distance in distances]


def _draw_box(canvas: Image.Image, box: Box) -> None:
    draw, unit = ImageDraw.Draw(canvas), _unit(canvas.size)
    side, line = max(1, round(unit)), max(1, round(1.5 * unit))
    left, top, right, bottom = box.left, box.top, box.right - 1, box.bottom - 1
    outer = (left - side, top - side, right + side, bottom + side)
    draw.rectangle(outer, outline=_DARK, width=line + 2 * side)
    draw.rectangle((left, top, right, bottom), outline=_LIGHT, width=line)


def _sample(rows: Rows, size: tuple[int, int]) -> tuple[Heat, int]:
    """The heat at the middle of each step x step block, and the step: a power of two, 1 where possible."""
    step = 1
    while math.ceil(size[0] / step) * math.ceil(size[1] / step) > _SAMPLE_PIXELS:
        step *= 2
    x, y = (np.minimum(np.arange(0, length, step) + step // 2, length - 1) for length in size)
    strips = ((first, y[(first <= y) & (y < last)] - first, last) for first, last in _strips(size))
    return np.concatenate([rows(first, last)[np.ix_(inside, x)] for first, inside, last in strips]), step


def _widen(small: Image.Image, factor: int, width: int) -> Image.Image:
    """`small` made `factor` times wider, cut at `width` pixels."""
    part = (0, 0, width / factor, small.height)
    return small.resize((width, small.height), Image.Resampling.BILINEAR, part)


def _stretch(wide: Image.Image, factor: int, first: int, last: int) -> Image.Image:
    """Rows first..last-1 of `wide` made `factor` times higher.

    With a power of two, and never both ways in one step, the bits do not depend on how high a strip is.
    """
    part = (0, first / factor, wide.width, last / factor)
    return wide.resize((wide.width, last - first), Image.Resampling.BILINEAR, part)


def _strips(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    height = max(16, _STRIP_PIXELS // size[0])
    return ((first, min(first + height, size[1])) for first in range(0, size[1], height))


def _levels(heat: Heat) -> npt.NDArray[np.uint8]:
    return (np.clip(np.nan_to_num(heat), 0, 1) * 255 + 0.5).astype(np.uint8)


def _opacity(alpha: float) -> list[int]:
    """The opacity, 0..255, of each level of heat: a smooth step from nothing to alpha."""
    rise = np.clip((np.arange(256) / 255 - _CLEAR_TO) / (_OPAQUE_FROM - _CLEAR_TO), 0, 1)
    return [round(255 * _share("alpha", alpha) * t * t * (3 - 2 * t)) for t in rise.tolist()]


def _mask(places: npt.NDArray[np.bool_]) -> Image.Image:
    return Image.fromarray(places.view(np.uint8) * np.uint8(255))


def _share(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise OptionError(f"{name} must be a number from 0 to 1, not {value!r}")
    return value


def _side(size: tuple[int, int]) -> float:
    """The side of the square with as many pixels: what text and textures scale with."""
    return math.sqrt(size[0] * size[1])


def _unit(size: tuple[int, int]) -> float:
    """The thickness, in pixels, of a fine line on a photograph of this size."""
    return max(0.6, _side(size) / 500)


def _ascii(text: str) -> str:
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return plain.replace("\N{MINUS SIGN}", "-").encode("ascii", "replace").decode()
