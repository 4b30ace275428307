"""Legends: where they go in an overlay, how large they are, and what their letters and colours are."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import overlaid as overlay
from PIL import Image, ImageChops

from camserve.render.legend import Legend, legend_image
from camserve.render.painting import Rows

LOOK: dict[str, Any] = {"colormap": "inferno", "alpha": 0.8}


def rows_of(heat: npt.ArrayLike) -> Rows:
    """Heat (H, W), anything array-like, as the function that rendering takes."""
    array = np.asarray(heat, dtype=np.float32)
    return lambda first, last: array[first:last]


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """Blotches of every colour and brightness, with fine grain."""
    random = np.random.default_rng(seed)
    blotches = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize((width, height))
    grain = Image.fromarray(random.integers(0, 40, (height, width, 3), dtype=np.uint8))
    return ImageChops.add(blotches, grain)


def pixels(image: Image.Image) -> npt.NDArray[np.int64]:
    return np.asarray(image).astype(int)


def legend_corners(photo: Image.Image, heat: npt.ArrayLike) -> str | None:
    """Which quarters of an overlay a legend touches: 'bottom left' and so on."""
    plain, with_legend = (
        overlay(photo, rows_of(heat), legend=legend, **LOOK) for legend in (None, Legend("cat 0.42", "0", "", "9"))
    )
    box = ImageChops.difference(plain, with_legend).getbbox()
    if box is None:
        return None
    side = "left" if box[0] + box[2] < photo.width else "right"
    return ("top " if box[1] + box[3] < photo.height else "bottom ") + side


def test_the_legend_goes_into_the_coldest_corner() -> None:
    photo, heat = photograph(400, 300), np.zeros((300, 400))
    assert legend_corners(photo, heat) == "bottom left"
    heat[150:] = 1
    assert legend_corners(photo, heat) == "top left"
    heat[:, :200] = 1
    assert legend_corners(photo, heat) == "top right"


@pytest.mark.parametrize("size", [(160, 120), (500, 375), (3000, 2000)])
def test_the_legend_takes_no_more_than_a_quarter_of_the_photograph(size: tuple[int, int]) -> None:
    photo, cold = Image.new("RGB", size, "white"), rows_of(np.zeros(size[::-1]))
    painted = overlay(photo, cold, legend=Legend("Egyptian cat 0.42", "0", "", "9"), **LOOK)
    box = ImageChops.difference(photo, painted).getbbox()
    assert box is not None
    left, top, right, bottom = box
    assert 0.01 < (right - left) * (bottom - top) / (size[0] * size[1]) <= 0.25


@pytest.mark.parametrize("size", [(32, 32), (80, 60), (4000, 20), (20, 4000)])
def test_the_legend_stands_below_where_it_would_hide_too_much(size: tuple[int, int]) -> None:
    photo, legend = Image.new("RGB", size, "white"), Legend("Egyptian cat 0.42", "0", "", "9")
    painted = overlay(photo, rows_of(np.zeros(size[::-1])), legend=legend, **LOOK)
    plate = legend_image(legend, text_height=10, **LOOK)
    assert painted.size == (max(size[0], plate.width), size[1] + plate.height)
    assert painted.crop((0, 0, *size)).tobytes() == photo.tobytes()
    assert painted.crop((0, size[1], plate.width, painted.height)).tobytes() == plate.tobytes()


def test_the_legend_grows_with_its_text_and_shows_the_colours_of_the_overlay() -> None:
    legend = Legend("Egyptian cat 0.42", "0", "", "15.2 logits")
    small, large = (legend_image(legend, text_height=height, **LOOK) for height in (10, 40))
    assert 3.5 < large.width / small.width < 4.5 and 3.5 < large.height / small.height < 4.5
    grey = Image.new("RGB", (1, 1), (128, 128, 128))
    coldest, hottest = (overlay(grey, rows_of([[value]]), **LOOK).getpixel((0, 0)) for value in (0, 1))
    seen = {colour for _, colour in large.getcolors(maxcolors=2**16)}
    assert {coldest, hottest} <= seen


def test_the_legend_is_wide_enough_for_long_names() -> None:
    long = Legend("Staffordshire bullterrier, Staffordshire bull terrier 0.87", "0", "", "9")
    plate = legend_image(long, text_height=12, **LOOK)
    right_edge = pixels(plate)[:, -6:]
    assert plate.width > 250 and (right_edge == right_edge[0, 0]).all()


def test_letters_that_the_font_lacks_are_replaced() -> None:
    def drawn(text: str) -> Image.Image:
        return legend_image(Legend(text, "0", "", "1"), text_height=12, **LOOK)

    assert drawn("M\N{LATIN SMALL LETTER A WITH DIAERESIS}use \N{MINUS SIGN}3") == drawn("Mause -3")
    assert drawn("\N{CJK UNIFIED IDEOGRAPH-732B}") == drawn("?")
