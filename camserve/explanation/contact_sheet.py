"""A comparison as one picture: the photograph, and a tile for each method or class."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from camserve.catalogue.options import OverlayOptions
from camserve.errors import OptionError
from camserve.explanation.class_scores import number_in_short
from camserve.explanation.explanation import Explanation, is_smooth, paint
from camserve.render.legend import plain_text
from camserve.render.painting import enlarged

Float32 = npt.NDArray[np.float32]

# Pixels: the width of a tile, and gaps. A tile is as high as the photograph needs, up to TALLEST times its width.
TILE, GAP, MARGIN, TALLEST = 300, 16, 24, 1.25
SPECK = 5  # pixels of a tile: finer heat is averaged
COLUMNS = 6
PAPER, INK, FAINT, EMPTY = (250, 250, 248), (24, 24, 28), (105, 105, 112), (232, 232, 228)
NOTE = (
    "Each map is shown relative to its own maximum: compare places, not strengths. Maps of single pixels are smoothed, "
    "because single hot pixels are too small to see here."
)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Entry:
    """One method or class of a comparison.

    name: of its folder. title: shown below the tile. group: the heading above it. detail: time and cost, or the score.
    explanation: None if there is none; `reason` then says why. cause: the error, if the method does not work with the
    model.
    """

    name: str
    title: str
    group: str
    detail: str = ""
    explanation: Explanation | None = None
    reason: str = ""
    cause: OptionError | None = None


PLAIN = OverlayOptions()
Place = tuple[Entry | None, str, int, int]


def class_entries(explained: Iterable[Explanation]) -> Iterator[Entry]:
    """Yield an entry for each explanation of one image, one class each, with unique names."""
    several = list(explained)
    for folder, one in zip(folder_names([one.target.name for one in several]), several, strict=True):
        yield Entry(folder, one.target.name, "Classes", _answer(one), one)


def output_entry(folder: str, explained: Explanation) -> Entry:
    """Return the entry of one output of a network."""
    return Entry(folder, explained.title, "Outputs", _answer(explained), explained)


def folder_names(names: Iterable[str]) -> Iterator[str]:
    """Yield each name as a valid folder name; a repeated name gets a number."""
    seen: dict[str, int] = {}
    for text in names:
        name = re.sub(r"[^\w+]+", "-", text).strip("-") or "class"
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}-{seen[name]}"


def _answer(one: Explanation) -> str:
    if one.score is not None:
        return f"score {one.score:.3f}, logit {one.logit:.1f}"
    if one.value is None or one.scores is None:
        return "" if one.value is None else number_in_short(one.value)
    return f"{one.value:.1f}" + (" logits" if one.target.is_linear else "")


def draw_sheet(photo: Image.Image, heading: str, entries: Sequence[Entry], look: OverlayOptions = PLAIN) -> Image.Image:
    """Draw the sheet, RGB.

    photo: RGB; a photo smaller than a tile is enlarged by a whole number. heading: the line at the top. entries: those
    of one group stand together. look: `signed`, `scale`, `boxes` and `legend` are ignored.
    """
    places = list(_places(entries))
    columns, rows = 1 + max(x for *_, x, _ in places), 1 + max(y for *_, y in places)
    small = enlarged(photo, max(1, min(TILE // photo.width, round(TALLEST * TILE) // photo.height)))
    small.thumbnail((TILE, round(TALLEST * TILE)), Image.Resampling.BICUBIC, reducing_gap=3)
    high = small.height + _line(18) + 6 + _line(18) + 2 * _line(15) + GAP
    width = 2 * MARGIN + columns * (TILE + GAP) - GAP
    sheet = Image.new("RGB", (width, 2 * MARGIN + _line(32) + rows * high + _line(15)), PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (MARGIN, MARGIN), heading, 24, INK, width - 2 * MARGIN, 1)
    for entry, group, x, y in places:
        left, top = MARGIN + x * (TILE + GAP), MARGIN + _line(32) + y * high
        _write(draw, (left, top), group, 16, FAINT, TILE, 1)
        _tile(sheet, draw, entry, _picture(small, entry, look), (left, top + _line(18)), small.height)
    _write(draw, (MARGIN, sheet.height - MARGIN - _line(15)), NOTE, 15, FAINT, width - 2 * MARGIN, 1)
    return sheet


def tile_overlay(small: Image.Image, made: Explanation, look: OverlayOptions) -> Image.Image:
    """Paint the heat on a small copy of the photograph: averaged over the copy's pixels, divided by its maximum.

    small: the copy, or the photograph enlarged by a whole number.
    """
    factor = small.width // made.photo.size[0]
    if is_smooth(look, made.style) and made.placement.rule != "input":
        heat = made.drawn_rows(small.size, look)(0, small.height)
    elif factor > 1 and made.placement.rule != "input":
        heat = made.enlarged_rows(factor)(0, small.height)
    else:
        heat = _smaller(made, small.size)
    peak = np.nanmax(heat, initial=0)
    scaled = heat / peak if peak > 0 else heat
    return paint(small, lambda first, last: scaled[first:last], replace(look, signed=False), made.style).image


def _smaller(made: Explanation, size: tuple[int, int]) -> Float32:
    """Return the heatmap's mean over each pixel of a picture of `size`, float32 (h, w); NaN where nothing was seen.

    Maps with one value per pixel are averaged over SPECK pixels, because single hot pixels are too small to see.
    """
    speck = SPECK if made.placement.rule == "input" else 1
    blocks = [np.linspace(0, side, max(1, part // speck) + 1) for side, part in zip(made.photo.size, size, strict=True)]
    across, rows = blocks[0][:-1].astype(int), []
    for first, last in pairwise(blocks[1]):
        heat = made.heat_rows(int(first), max(int(first) + 1, math.ceil(last)))
        rows.append(np.add.reduceat([np.nan_to_num(heat).sum(0), np.isfinite(heat).sum(0)], across, axis=1))
    total, seen = np.stack(rows, 1).astype(np.float32)
    mean = Image.fromarray(total / np.maximum(seen, 1)).resize(size, Image.Resampling.BILINEAR)
    return np.where(_seen(made, size), np.asarray(mean), np.float32(np.nan))


def _seen(made: Explanation, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return for each pixel of a picture of `size` whether the model saw its place, bool (h, w)."""
    left, top, right, bottom = made.placement.frame.box
    x, y = ((np.arange(part) + 0.5) * side / part for side, part in zip(made.photo.size, size, strict=True))
    return ((y >= top) & (y <= bottom))[:, None] & ((x >= left) & (x <= right))


def _picture(small: Image.Image, entry: Entry | None, look: OverlayOptions) -> Image.Image | None:
    if entry is None:
        return small
    return tile_overlay(small, entry.explanation, look) if entry.explanation is not None else None


def _places(entries: Sequence[Entry]) -> Iterator[Place]:
    """Yield (entry, its group's name if the group begins here, column, row): the photograph first, then each group.

    A group starts a new row unless all of it fits into the rest of the row. The first group stands beside the
    photograph.
    """
    columns = min(COLUMNS, max(2, 1 + len(entries)))
    yield None, "", 0, 0
    x, y = 1, 0
    for group, members in groupby(entries, lambda entry: entry.group):
        several = list(members)
        if len(several) > columns - x and y + x > 1:
            x, y = 0, y + 1
        for index, entry in enumerate(several):
            x, y = (x, y) if x < columns else (0, y + 1)
            yield entry, group if index == 0 else "", x, y
            x += 1


def _tile(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    entry: Entry | None,
    picture: Image.Image | None,
    corner: tuple[int, int],
    height: int,
) -> None:
    """Draw a picture, or why there is none, and below it the name and the detail."""
    left, top = corner
    if picture is None:
        draw.rectangle((left, top, left + TILE - 1, top + height - 1), fill=EMPTY)
        lines = max(1, (height - 20) // _line(15))
        _write(draw, (left + 12, top + 10), entry.reason if entry else "", 15, FAINT, TILE - 24, lines)
    else:
        sheet.paste(picture, (left + (TILE - picture.width) // 2, top))
    name, detail = (entry.title, entry.detail) if entry else ("The photograph", "")
    _write(draw, (left, top + height + 6), name, 18, INK, TILE, 1)
    _write(draw, (left, top + height + 6 + _line(18)), detail, 15, FAINT, TILE, 2)


def _write(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    size: int,
    ink: tuple[int, int, int],
    width: int,
    lines: int,
) -> None:
    """Write text in at most `lines` lines of `width` pixels; the rest is cut off with an ellipsis."""
    font = ImageFont.load_default(size=size)
    for index, line in enumerate(_wrapped(plain_text(text), font, width, lines)):
        draw.text((at[0], at[1] + index * _line(size)), line, font=font, fill=ink)


def _wrapped(text: str, font: Font, width: int, lines: int) -> list[str]:
    found: list[str] = []
    for word in text.split():
        longer = f"{found[-1]} {word}" if found else word
        if found and font.getlength(longer) <= width:
            found[-1] = longer
        else:
            found.append(word)
    if len(found) > lines:
        found = [*found[: lines - 1], f"{found[lines - 1]} ..."]
    return found


def _line(size: int) -> int:
    """Return the height of a line of text of this size, in pixels."""
    return round(1.3 * size)
