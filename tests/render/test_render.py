"""Overlays, heatmaps and colours: exact pixels on hand-made photographs and heat."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import overlaid as overlay
from PIL import Image, ImageChops

from camserve.errors import OptionError, UnknownName
from camserve.render import overlay as render
from camserve.render import painting
from camserve.render.legend import Legend
from camserve.render.overlay import COLORMAPS, heat_image
from camserve.render.regions import Box, find_boxes

NAN = float("nan")
LOOK: dict[str, Any] = {"colormap": "inferno", "alpha": 0.8}


def rows_of(heat: npt.ArrayLike) -> painting.Rows:
    """Heat (H, W), anything array-like, as the function that rendering takes."""
    array = np.asarray(heat, dtype=np.float32)
    return lambda first, last: array[first:last]


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """Blotches of every colour and brightness, with fine grain."""
    random = np.random.default_rng(seed)
    blotches = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize((width, height))
    grain = Image.fromarray(random.integers(0, 40, (height, width, 3), dtype=np.uint8))
    return ImageChops.add(blotches, grain)


def hill(width: int, height: int) -> painting.Heat:
    """One smooth hill of heat, 1 at the middle and 0 at the corners."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.clip(1 - np.hypot(x, y), 0, 1).astype(np.float32)


def pixels(image: Image.Image) -> npt.NDArray[np.int64]:
    return np.asarray(image).astype(int)


def test_where_there_is_no_heat_the_photograph_stays_bit_for_bit() -> None:
    photo = photograph(90, 60)
    heat = hill(90, 60)
    painted = overlay(photo, rows_of(heat), **LOOK)
    changed = (pixels(painted) != pixels(photo)).any(axis=2)
    assert not changed[heat == 0].any()
    assert changed[heat > 0.4].all()
    assert overlay(photo, rows_of(np.zeros((60, 90))), **LOOK) == photo


def test_below_the_colours_the_photograph_may_be_grey() -> None:
    photo, heat = photograph(60, 40), hill(60, 40)
    grey = overlay(photo, rows_of(heat), **LOOK, grey=True)
    assert grey.tobytes() == overlay(photo.convert("L").convert("RGB"), rows_of(heat), **LOOK).tobytes()
    cold = overlay(photo, rows_of(0 * heat), **LOOK, grey=True)
    assert cold.tobytes() == photo.convert("L").convert("RGB").tobytes()


def test_full_heat_on_a_flat_photograph_is_the_known_blend() -> None:
    painted = overlay(Image.new("RGB", (40, 30), (100, 150, 200)), rows_of(np.ones((30, 40))), **LOOK)
    # inferno ends at (252, 255, 164); 0.8 of it over 0.2 of the photograph
    assert painted.getcolors() == [(1200, (round(221.6), round(234.0), round(171.2)))]


def test_opacity_rises_smoothly_from_a_tenth_to_seven_tenths_of_the_heat() -> None:
    heat = [[0, 0.1, 0.4, 0.7, 1.0]]
    painted = overlay(Image.new("RGB", (5, 1)), rows_of(heat), colormap="gray", alpha=1)
    # a grey map on black shows heat x opacity: 0, 0, 0.4 x 0.5, 0.7 x 1, 1 x 1
    assert pixels(painted)[0, :, 0].tolist() == [0, 0, 51, 179, 255]


def test_alpha_zero_is_the_photograph() -> None:
    photo = photograph(50, 40)
    assert overlay(photo, rows_of(np.ones((40, 50))), colormap="inferno", alpha=0) == photo


def test_hot_places_keep_the_texture_of_the_photograph() -> None:
    stripes = np.full((64, 64, 3), 100, dtype=np.uint8)
    stripes[:, ::2] = 120
    painted = pixels(overlay(Image.fromarray(stripes), rows_of(np.ones((64, 64))), colormap="viridis", alpha=1))
    contrast = painted[:, ::2].mean() - painted[:, 1::2].mean()
    assert 0.6 * 20 < contrast < 20


def test_a_dark_and_a_bright_photograph_get_the_same_colour_at_full_opacity() -> None:
    dark, bright = (
        overlay(Image.new("RGB", (64, 48), colour), rows_of(np.ones((48, 64))), colormap="magma", alpha=1)
        for colour in ("black", "white")
    )
    assert dark == bright


def test_what_was_not_seen_is_grey_and_flat_and_free_of_heat() -> None:
    photo, heat = photograph(120, 80), np.ones((80, 120))
    heat[:, :60] = NAN
    painted = pixels(overlay(photo, rows_of(heat), **LOOK))
    luminance, far = pixels(photo.convert("L")), slice(0, 50)  # beyond the line along the border
    for channel in range(3):
        assert np.abs(painted[:, far, channel] - (56 + 0.4 * luminance[:, far])).max() <= 0.5
    assert (painted[:, 59:61] > 230).all()
    assert (painted[:, 58].max(axis=1) < 80).all()


def test_a_photograph_that_was_not_seen_at_all() -> None:
    painted = overlay(Image.new("RGB", (8, 8), "white"), rows_of(np.full((8, 8), NAN)), contour=0.5, **LOOK)
    assert painted.getcolors() == [(64, (158, 158, 158))]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_any_mode_of_photograph_gives_rgb_and_is_left_alone(mode: str) -> None:
    photo = photograph(30, 20).convert(mode)
    before = photo.copy()
    assert overlay(photo, rows_of(hill(30, 20)), **LOOK).mode == "RGB"
    assert photo == before


@pytest.mark.parametrize("strip", [1, 700, 5000])
def test_pixels_do_not_depend_on_the_height_of_strips(strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, heat = photograph(133, 211), hill(133, 211)
    heat[:, :20] = NAN
    options: dict[str, Any] = {**LOOK, "contour": 0.5, "legend": Legend("cat", "0", "", "1")}
    whole = overlay(photo, rows_of(heat), **options), heat_image(rows_of(heat), photo.size)
    monkeypatch.setattr(painting, "_STRIP_PIXELS", strip)
    assert (overlay(photo, rows_of(heat), **options), heat_image(rows_of(heat), photo.size)) == whole


def test_threads_draw_the_same_picture() -> None:
    photo, heat = photograph(160, 120), rows_of(hill(160, 120))
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(lambda _: overlay(photo, heat, contour=0.5, **LOOK), range(8)))
    assert all(picture == pictures[0] for picture in pictures)


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (3, 2)])
def test_extreme_shapes(size: tuple[int, int]) -> None:
    heat = np.linspace(0, 1, size[0] * size[1]).reshape(size[::-1])
    found = find_boxes(rows_of(heat), size, threshold=0)
    look: dict[str, Any] = {"contour": 0.5, "boxes": found, **LOOK}
    painted = overlay(Image.new("RGB", size), rows_of(heat), **look)
    assert painted.size == heat_image(rows_of(heat), size).size == size
    lettered = overlay(Image.new("RGB", size), rows_of(heat), legend=Legend("cat", "0", "", "1"), **look)
    assert lettered.width >= size[0]  # the legend stands below, and may be wider
    assert lettered.height > size[1]
    assert lettered.crop((0, 0, *size)).tobytes() == painted.tobytes()
    assert [(box.left, box.top, box.right, box.bottom) for box in found] == [(0, 0, *size)]


def test_the_contour_is_white_between_black_where_the_heat_crosses_its_level() -> None:
    heat = np.zeros((100, 100))
    heat[:, 50:] = 1
    for background in ("white", "black"):
        photo = Image.new("RGB", (100, 100), background)
        line = pixels(overlay(photo, rows_of(heat), colormap="inferno", alpha=0, contour=0.5))[50, :, 0]
        assert line[49:51].min() > 230
        assert line[48] < 130 and line[51] < 130
        assert (line[:48] == line[0]).all() and (line[52:] == line[0]).all()


def test_the_contour_grows_with_the_photograph() -> None:
    def thickness(width: int, height: int) -> int:
        photo, heat = Image.new("RGB", (width, height), "white"), np.zeros((height, width))
        heat[:, width // 2 :] = 1
        painted = overlay(photo, rows_of(heat), colormap="inferno", alpha=0, contour=0.5)
        return int((pixels(painted)[height // 2, :, 0] < 255).sum())

    assert [thickness(200, 150), thickness(1200, 800), thickness(2400, 1600)] == [4, 6, 16]


def test_the_contour_of_a_large_photograph_lies_where_the_heat_crosses() -> None:
    ramp = np.tile(np.linspace(0, 1, 1600), (900, 1))  # more than 2^20 pixels: every second one is looked at
    photo = Image.new("RGB", (1600, 900), "black")
    painted = overlay(photo, rows_of(ramp), colormap="gray", alpha=0, contour=0.6)
    bright = np.flatnonzero(pixels(painted)[450, :, 0] > 128)
    assert abs(bright.mean() - 0.6 * 1599) < 2


def test_boxes_are_drawn_along_the_inside_of_their_bounds() -> None:
    painted = overlay(
        Image.new("RGB", (60, 50), "black"),
        rows_of(np.zeros((50, 60))),
        boxes=[Box(10, 20, 30, 40, 1.0, 1.0)],
        **LOOK,
    )
    y, x = np.nonzero(pixels(painted)[:, :, 0] == 255)
    assert (x.min(), y.min(), x.max() + 1, y.max() + 1) == (10, 20, 30, 40)


def test_the_heat_image_is_grey_and_transparent_where_nothing_was_seen() -> None:
    seen = heat_image(rows_of([[0, 0.5, 1]]), (3, 1))
    assert (seen.mode, pixels(seen).tolist()) == ("L", [[0, 128, 255]])
    cropped = heat_image(rows_of([[NAN, 0.5, 1]]), (3, 1))
    assert (cropped.mode, pixels(cropped).tolist()) == ("LA", [[[0, 0], [128, 255], [255, 255]]])


@pytest.mark.parametrize("name", [*COLORMAPS, "gray", "cmocean:thermal", "Viridis", "tab10", "RdBu"])
def test_colour_maps_have_256_colours(name: str) -> None:
    assert len(render.colours(name)) == 768


def test_a_colour_map_turned_round() -> None:
    table, turned = (np.frombuffer(render.colours(name), np.uint8).reshape(256, 3) for name in ("jet", "jet_r"))
    assert (turned == table[::-1]).all()


def test_the_default_kind_of_colour_map_gets_lighter_with_heat() -> None:
    for name in COLORMAPS[:6]:
        colours = np.frombuffer(render.colours(name), np.uint8).reshape(256, 3) @ [0.2126, 0.7152, 0.0722]
        assert all(after >= before - 1 for before, after in pairwise(colours.tolist())), name


def test_colour_map_names_start_with_the_curated_ones() -> None:
    names = render.colormap_names()
    assert tuple(names[: len(COLORMAPS)]) == COLORMAPS
    assert len(names) == len(set(names)) > 300


def test_an_unknown_colour_map_is_told_apart_with_what_is_close() -> None:
    with pytest.raises(UnknownName) as caught:
        overlay(photograph(4, 4), rows_of(np.zeros((4, 4))), colormap="infreno", alpha=0.5)
    message = str(caught.value)
    assert message.startswith("unknown colour map 'infreno'; did you mean 'inferno'")
    assert "Known: inferno, plasma, magma, viridis" in message


@pytest.mark.parametrize("value", [-0.1, 1.5, NAN])
def test_shares_outside_zero_to_one_are_refused(value: float) -> None:
    photo, rows = photograph(4, 4), rows_of(np.zeros((4, 4)))
    with pytest.raises(OptionError, match=f"alpha must be a number from 0 to 1, not {value}"):
        overlay(photo, rows, colormap="inferno", alpha=value)
    with pytest.raises(OptionError, match=f"contour must be a number from 0 to 1, not {value}"):
        overlay(photo, rows, contour=value, **LOOK)
