"""Geometry: exact both ways, and a heatmap cell lands where its stride and offset say."""

import numpy as np
import pytest

from camserve.errors import OptionError
from camserve.geometry.frame import Frame, Placement, check_input_size, crop, fit, native

FRAMES = [
    fit((640, 427), 224, max_aspect=8),
    fit((427, 640), 224, max_aspect=8),
    fit((1, 4000), 224, max_aspect=8),
    fit((1, 1), 224, max_aspect=8),
    crop((640, 427), (224, 224), share=0.875),
    crop((33, 1000), (224, 224), share=0.875),
    native((97, 31)),
]


@pytest.mark.parametrize("frame", FRAMES)
def test_points_go_there_and_back(frame: Frame) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-5, frame.original[0] + 5, 50), rng.uniform(-5, frame.original[1] + 5, 50)
    back = frame.to_original(*frame.to_input(x, y))
    np.testing.assert_allclose(back, (x, y), atol=1e-9)


@pytest.mark.parametrize("frame", FRAMES)
def test_the_box_s_edges_are_the_input_s_edges(frame: Frame) -> None:
    left, top, right, bottom = frame.box
    corner = frame.to_input(left - 0.5, top - 0.5)
    np.testing.assert_allclose(corner, (-0.5, -0.5), atol=1e-9)
    np.testing.assert_allclose(frame.to_input(right - 0.5, bottom - 0.5), np.array(frame.input) - 0.5, atol=1e-6)


def test_fit_leads_to_few_sizes_of_input_and_keeps_those_of_cameras() -> None:
    assert len({fit((width, 1000), 224, max_aspect=8).input for width in range(1000, 2001)}) == 25
    for width in range(130, 7900, 7):
        made = fit((width, 1000), 224, max_aspect=8)
        assert abs(made.scale[0] / made.scale[1] - 1) < 1 / 48 + 1 / 224
    for aspect in (1, 5 / 4, 4 / 3, 3 / 2, 2):
        assert fit((round(1200 * aspect), 1200), 240, max_aspect=8).input == (240 * aspect, 240)


def test_fit_keeps_the_aspect_and_sees_all() -> None:
    assert fit((640, 427), 224, max_aspect=8).input == (336, 224)
    assert fit((427, 640), 224, max_aspect=8).input == (224, 336)
    assert fit((300, 300), 224, max_aspect=8).input == (224, 224)
    assert all(fit(size, 224, max_aspect=8).sees_all for size in ((640, 427), (1, 4000)))


def test_fit_squeezes_what_is_too_long() -> None:
    assert fit((1, 4000), 224, max_aspect=8).input == (224, 1792)
    assert fit((4000, 1), 224, max_aspect=8).input == (1792, 224)


def test_crop_is_the_centre_square() -> None:
    frame = crop((640, 400), (224, 224), share=0.875)
    assert frame.box == (145, 25, 495, 375)
    assert frame.input == (224, 224)
    assert not frame.sees_all


def test_native_is_one_to_one() -> None:
    assert native((640, 400)).to_input(13, 7) == (13, 7)


def test_an_input_over_the_limit_names_the_setting() -> None:
    with pytest.raises(OptionError, match=r"3000 x 2000 = 6\.0 megapixels.*explain\.max_input_megapixels"):
        check_input_size(native((3000, 2000)), 4)


def place(frame: Frame, grid: tuple[int, int] = (7, 7), stride: float = 32, offset: float = 15.5) -> Placement:
    return Placement(frame, grid, (stride, stride), (offset, offset))


def test_a_cell_s_centre_has_the_cell_s_value() -> None:
    placement = place(native((224, 224)), offset=16)
    grid_map = np.random.default_rng(0).random((7, 7), dtype=np.float32)
    placed = placement.rows(grid_map, 0, 224)
    for v in range(7):
        for u in range(7):
            assert placement.cell_centre(u, v) == (32 * u + 16, 32 * v + 16)
            assert placed[32 * v + 16, 32 * u + 16] == grid_map[v, u]


def test_between_centres_it_is_bilinear_and_beyond_them_constant() -> None:
    placed = place(native((224, 224)), offset=16).rows(np.eye(7, dtype=np.float32), 0, 224)
    assert placed[16, 16 + 8] == 0.75
    assert placed[16 + 16, 16 + 16] == 0.5
    assert placed[0, 0] == 1
    assert placed[223, 223] == 1


def test_cells_and_pixels_are_inverse() -> None:
    placement = place(fit((613, 211), 224, max_aspect=8), grid=(20, 7), offset=17.6)
    x, y = placement.cell_centre(3.25, 5.5)
    np.testing.assert_allclose(placement.cell_at(x, y), (3.25, 5.5))


def test_strips_are_the_whole() -> None:
    placement = place(fit((61, 83), 224, max_aspect=8), grid=(7, 10))
    grid_map = np.random.default_rng(0).normal(size=(10, 7)).astype(np.float32)
    whole = placement.rows(grid_map, 0, 83)
    strips = [placement.rows(grid_map, first, min(first + 9, 83)) for first in range(0, 83, 9)]
    np.testing.assert_array_equal(np.concatenate(strips), whole)


def test_outside_the_crop_is_unseen() -> None:
    placed = place(crop((640, 400), (224, 224), share=0.875)).rows(np.ones((7, 7), np.float32), 0, 400)
    seen = ~np.isnan(placed)
    assert seen[25:375, 145:495].all()
    assert seen.sum() == 350 * 350


def test_a_grid_of_one_cell_covers_everything() -> None:
    placed = place(native((9, 5)), grid=(1, 1)).rows(np.full((1, 1), 3, np.float32), 0, 5)
    assert (placed == 3).all()
