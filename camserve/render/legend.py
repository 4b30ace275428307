"""What the colours mean, in words and a colour bar: as a picture, or in a corner of an overlay."""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from camserve.catalogue.colormaps import colours
from camserve.render.canvas import canvas_of
from camserve.render.painting import DARK, LIGHT, Heat, opacity_of, paint, side_of

_GREY = (128, 128, 128)
_LEAST_TEXT = 10  # pixels; smaller letters cannot be read


@dataclass(frozen=True)
class Legend:
    """The texts of a legend.

    caption: above the colour bar, such as "Egyptian cat 0.42". low, middle, high: below the bar, such as "-15.2", "0"
    and "15.2 logits"; middle may be empty. Letters outside ASCII lose their accents or become "?", because Pillow's
    built-in font does not have them.
    """

    caption: str
    low: str
    middle: str
    high: str


def legend_image(legend: Legend, *, colormap: str, alpha: float, text_height: int, signed: bool = False) -> Image.Image:
    """Draw the legend alone, RGB, as large as its words need, to show beside a photograph.

    The bar shows the colours as they look on mid-grey. text_height: pixels. signed: the middle of the bar is clear.
    Raises OptionError, UnknownName.
    """
    return _legend_plate(legend, colours(colormap), opacity_of(alpha, signed=signed), text_height)


def _legend_plate(legend: Legend, palette: bytes, opacity: Sequence[int], em: int) -> Image.Image:
    font, small = ImageFont.load_default(size=em), ImageFont.load_default(size=0.85 * em)
    caption, low, middle, high = map(plain_text, (legend.caption, legend.low, legend.middle, legend.high))
    below = 2 * max(small.getlength(f"{low}    "), small.getlength(f"    {high}")) + small.getlength(middle)
    needed = font.getlength(caption), below if middle else small.getlength(f"{low}    {high}")
    width, left, top = math.ceil(max(8 * em, *needed)), round(0.8 * em), round(1.35 * em if caption else 0)
    bar, ramp = (
        canvas_of(Image.new("RGB", (width, round(0.7 * em)), _GREY), native=False),
        np.linspace(0, 1, width, dtype=np.float32),
    )
    paint(bar, lambda first, last: np.tile(ramp, (last - first, 1)), palette, opacity)
    plate = Image.new("RGB", (width + 2 * left, top + 3 * em), DARK)
    plate.paste(bar.image, (left, top + round(0.8 * em)))
    draw = ImageDraw.Draw(plate)
    draw.text((left, 1.5 * em), caption, font=font, fill=LIGHT, anchor="ls")
    draw.text((left, top + 2.4 * em), low, font=small, fill=LIGHT, anchor="ls")
    draw.text((left + width / 2, top + 2.4 * em), middle, font=small, fill=LIGHT, anchor="ms")
    draw.text((left + width, top + 2.4 * em), high, font=small, fill=LIGHT, anchor="rs")
    return plate


def place_legend(
    canvas: Image.Image, legend: Legend, heat: Heat, step: int, palette: bytes, opacity: Sequence[int]
) -> Image.Image:
    """Draw the legend into the corner with the least heat, in the largest readable text that fits. Returns the picture.

    If the legend would hide more than a quarter of the picture, it stands below: a new, higher picture.
    """
    for share in (1, 0.75, 0.5, 0):
        em = max(_LEAST_TEXT, round(share * side_of(canvas.size) / 32))
        plate, gap = _legend_plate(legend, palette, opacity, em), em // 2
        right, bottom = canvas.width - plate.width - gap, canvas.height - plate.height - gap
        if right >= gap and bottom >= gap and 4 * plate.width * plate.height <= canvas.width * canvas.height:
            corners = [(x, y) for y in (bottom, gap) for x in (gap, right)]
            beyond = [np.nan_to_num(heat[y // step :, x // step :]) for x, y in corners]
            means = [part[: plate.height // step, : plate.width // step].mean() for part in beyond]
            canvas.paste(plate, corners[int(np.argmin(means))])
            return canvas
    plate = _legend_plate(legend, palette, opacity, _LEAST_TEXT)
    higher = Image.new("RGB", (max(canvas.width, plate.width), canvas.height + plate.height), DARK)
    higher.paste(canvas, (0, 0))
    higher.paste(plate, (0, canvas.height))
    return higher


def plain_text(text: str) -> str:
    """Return `text` in the letters of Pillow's built-in font: without accents, and other letters as "?"."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return plain.replace("\N{MINUS SIGN}", "-").encode("ascii", "replace").decode()
