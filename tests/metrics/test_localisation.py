"""Metrics of localisation: numbers on paper, what does not change them, and what is refused."""

from collections.abc import Callable

import numpy as np
import pytest

from camserve.errors import OptionError
from camserve.metrics import baselines
from camserve.metrics.heat import Float, Mask
from camserve.metrics.localisation import (
    STEPS,
    best_iou,
    box_overlaps,
    cell_of_grid,
    energy,
    grid_auroc,
    grid_pg,
    max_box_acc_v2,
    max_box_acc_v2_of_all,
    pixel_ap,
    pixel_auroc,
    pointing,
    pointing_within,
)

pytestmark = pytest.mark.quick

Of = Callable[[Float, Mask], float]

# A box of 6 of 48 pixels.
INSIDE = np.zeros((6, 8), bool)
INSIDE[1:3, 2:5] = True
ORACLE = INSIDE.astype(float)
UNIFORM = baselines.uniform(INSIDE.shape)
ALL = (pointing, pointing_within, pixel_ap, pixel_auroc, best_iou, energy, max_box_acc_v2)
RANKED = (pointing, pixel_ap, pixel_auroc, best_iou)
# Four pixels, two inside: 4 in, 3 out, 2 in, 1 out.
SMALL, OBJECT = np.array([[4.0, 3.0], [2.0, 1.0]]), np.array([[True, False], [True, False]])


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.__name__)
def test_the_object_itself_has_1_everywhere(metric: Of) -> None:
    assert metric(ORACLE, INSIDE) == 1


def test_a_uniform_map_has_the_object_s_share() -> None:
    assert pointing(UNIFORM, INSIDE) == pixel_ap(UNIFORM, INSIDE) == energy(UNIFORM, INSIDE) == 6 / 48
    assert best_iou(UNIFORM, INSIDE) == 6 / 48
    assert pixel_auroc(UNIFORM, INSIDE) == 0.5
    assert max_box_acc_v2(UNIFORM, INSIDE) == 0  # nothing of it is above its minimum


def test_a_map_without_heat_is_a_uniform_one() -> None:
    for metric in (*RANKED, energy):
        assert metric(UNIFORM * 0, INSIDE) == metric(UNIFORM, INSIDE)
        assert metric(-ORACLE, INSIDE) == metric(UNIFORM, INSIDE)  # what speaks against the class is no heat


def test_four_pixels_by_hand() -> None:
    assert pointing(SMALL, OBJECT) == 1
    assert pixel_ap(SMALL, OBJECT) == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    assert pixel_auroc(SMALL, OBJECT) == 3 / 4  # of four pairs one is the wrong way round
    assert best_iou(SMALL, OBJECT) == pytest.approx(2 / 3)
    assert energy(SMALL, OBJECT) == 6 / 10


def test_ties_give_what_they_give_on_average() -> None:
    heat = np.array([[2.0, 2.0], [1.0, 0.0]])
    assert pointing(heat, OBJECT) == 1 / 2
    assert pixel_ap(heat, OBJECT) == pytest.approx(1 / 2 * 1 / 2 + 1 / 2 * 2 / 3)
    assert pixel_auroc(heat, OBJECT) == (0.5 + 1 + 0 + 1) / 4


def test_what_was_not_seen_has_no_heat() -> None:
    holed = np.where(INSIDE, np.nan, 1.0)
    assert energy(holed, INSIDE) == pointing(holed, INSIDE) == pixel_auroc(holed, INSIDE) == 0
    unseen_outside = np.where(INSIDE, 1.0, np.nan)
    for metric in ALL:
        assert metric(unseen_outside, INSIDE) == 1


@pytest.mark.parametrize("metric", RANKED, ids=lambda metric: metric.__name__)
def test_a_rising_change_of_the_heat_changes_no_rank(metric: Of) -> None:
    heat = baselines.random(INSIDE.shape)
    assert metric(heat**3, INSIDE) == metric(heat, INSIDE) == metric(7 * heat, INSIDE)


def test_energy_rises_with_any_sharpening() -> None:
    heat = np.where(INSIDE, 2.0, 1.0)
    assert energy(heat, INSIDE) == 12 / 54
    assert energy(heat**2, INSIDE) == 24 / 66
    assert grid_auroc(heat**2, INSIDE) == grid_auroc(heat, INSIDE)


def dot(y: int, x: int) -> np.ndarray:
    values = np.zeros((40, 40))
    values[y, x] = 1
    return values


@pytest.mark.parametrize("place", [(20, 20), (0, 0), (39, 3)])
def test_the_tolerance_is_15_pixels_whichever_way(place: tuple[int, int]) -> None:
    """At the borders of the image as well; (9, 12) lies 15 pixels away, (10, 12) more."""
    inside = dot(*place) > 0
    distance = np.hypot(*(np.indices((40, 40)) - np.reshape(place, (2, 1, 1))))
    for y, x in np.argwhere((distance > 14.5) & (distance < 15.5)):
        assert pointing_within(dot(y, x), inside) == (distance[y, x] <= 15)
        assert pointing(dot(y, x), inside) == 0


def test_a_grid_s_uniform_map_has_one_cell_s_share() -> None:
    for count in (1, 2, 3):
        cell = cell_of_grid((6, 12), count, 0, count - 1)
        assert grid_pg(np.ones((6, 12)), cell) == pytest.approx(1 / count**2, abs=1e-15)
        assert grid_pg(cell.astype(float), cell) == 1
    cells = [cell_of_grid((7, 9), 2, row, column) for row in (0, 1) for column in (0, 1)]
    assert (sum(cell.astype(int) for cell in cells) == 1).all()  # each pixel in one
    assert grid_auroc(np.ones((6, 12)), cell_of_grid((6, 12), 2, 0, 0)) == 0.5


def test_boxes_at_every_step_by_hand() -> None:
    heat = np.zeros((4, 10))
    heat[1:3, 1:5] = 1.0  # 8 pixels, at every step
    heat[1:3, 5:7] = 0.5  # with these 12, at steps 0 .. 126
    inside = np.zeros((4, 10), bool)
    inside[1:3, 1:7] = True
    overlaps = box_overlaps(heat, inside)
    assert overlaps.shape == (STEPS,)
    assert (overlaps[:127] == 1).all()
    assert overlaps[127:] == pytest.approx(8 / 12)
    assert max_box_acc_v2(np.where(heat == 1, 1.0, 0), inside) == pytest.approx(2 / 3)  # 0.67 is no hit at 0.7


def test_regions_whose_corners_touch_have_one_box() -> None:
    heat = np.eye(4)
    whole = np.ones((4, 4), bool)
    assert box_overlaps(heat, whole)[0] == 1


def test_of_a_dataset_one_step_serves_all_images() -> None:
    """Each image alone has a step that suits it; together they have none."""
    overlaps = np.zeros((2, STEPS))
    overlaps[0, 10] = overlaps[1, 20] = 0.6
    assert [max_box_acc_v2_of_all(one[None]) for one in overlaps] == [pytest.approx(2 / 3)] * 2
    assert max_box_acc_v2_of_all(overlaps) == pytest.approx(1 / 3)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.__name__)
def test_a_mask_without_a_pixel_or_of_another_size_is_refused(metric: Of) -> None:
    with pytest.raises(OptionError, match="the mask has no pixel"):
        metric(ORACLE, INSIDE & False)
    with pytest.raises(OptionError, match="the mask has 7 x 6 pixels and the heat 8 x 6"):
        metric(ORACLE, INSIDE[:, 1:])


def test_what_compares_nothing_is_refused() -> None:
    with pytest.raises(OptionError, match="the mask covers the whole image"):
        pixel_auroc(ORACLE, INSIDE | True)
    with pytest.raises(OptionError, match=r"a mosaic of 2 x 2 cells has no cell \(2, 0\)"):
        cell_of_grid((6, 8), 2, 2, 0)
