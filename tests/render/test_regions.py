"""Boxes around hot regions: exact bounds on hand-made heat, and a flood fill that must agree."""

import numpy as np
import numpy.typing as npt
import pytest

from camserve.errors import OptionError
from camserve.render import regions
from camserve.render.painting import Rows
from camserve.render.regions import Box, find_boxes

NAN = float("nan")


def rows_of(heat: npt.ArrayLike) -> Rows:
    """Heat (H, W), anything array-like, as the function that rendering takes."""
    array = np.asarray(heat, dtype=np.float32)
    return lambda first, last: array[first:last]


def test_two_blobs_are_two_boxes_the_one_with_more_heat_first() -> None:
    heat = np.zeros((10, 12))
    heat[1:3, 2:5] = 0.5
    heat[6:9, 8:12] = 0.75
    heat[7, 9] = 1.0
    whole = 6 * 0.5 + 11 * 0.75 + 1
    assert find_boxes(rows_of(heat), (12, 10), threshold=0.5) == [
        Box(8, 6, 12, 9, 1.0, pytest.approx(9.25 / whole)),  # type: ignore[arg-type]
        Box(2, 1, 5, 3, 0.5, pytest.approx(3.0 / whole)),  # type: ignore[arg-type]
    ]


def test_corners_that_touch_connect() -> None:
    assert find_boxes(rows_of([[1, 0, 0], [0, 1, 0], [0, 0, 1]]), (3, 3), threshold=0.5) == [Box(0, 0, 3, 3, 1.0, 1.0)]
    assert find_boxes(rows_of([[0, 0, 1], [0, 1, 0], [1, 0, 0]]), (3, 3), threshold=0.5) == [Box(0, 0, 3, 3, 1.0, 1.0)]


def test_the_end_of_a_row_does_not_touch_the_start_of_the_next() -> None:
    assert len(find_boxes(rows_of([[0, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]]), (4, 3), threshold=0.5)) == 2
    assert len(find_boxes(rows_of([[0, 0, 0, 1], [1, 0, 0, 0]]), (4, 2), threshold=0.5)) == 2


def test_a_ring_and_what_is_inside_it_are_two_regions() -> None:
    ring = [[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]]
    found = find_boxes(rows_of(ring), (5, 5), threshold=0.5)
    assert [(box.left, box.top, box.right, box.bottom) for box in found] == [(0, 0, 5, 5), (2, 2, 3, 3)]


def test_a_comb_joins_where_its_teeth_meet() -> None:
    comb = np.zeros((6, 9))
    comb[:, ::2] = 1
    assert len(find_boxes(rows_of(comb), (9, 6), threshold=1)) == 5
    comb[5] = 1
    assert find_boxes(rows_of(comb), (9, 6), threshold=1) == [Box(0, 0, 9, 6, 1.0, 1.0)]


def test_boxes_of_nothing_of_everything_and_of_unseen() -> None:
    assert find_boxes(rows_of(np.zeros((4, 6))), (6, 4), threshold=0.5) == []
    assert find_boxes(rows_of(np.zeros((4, 6))), (6, 4), threshold=0) == [Box(0, 0, 6, 4, 0.0, 0.0)]
    assert find_boxes(rows_of(np.ones((4, 6))), (6, 4), threshold=1) == [Box(0, 0, 6, 4, 1.0, 1.0)]
    assert find_boxes(rows_of(np.full((4, 6), NAN)), (6, 4), threshold=0) == []
    assert find_boxes(rows_of([[NAN, 1.0, NAN]]), (3, 1), threshold=0) == [Box(1, 0, 2, 1, 1.0, 1.0)]


def test_boxes_agree_with_flood_filling_on_random_heat() -> None:
    heat = np.random.default_rng(1).random((30, 40), dtype=np.float32)
    hot, naive = {(y, x) for y, x in np.argwhere(heat >= 0.6).tolist()}, set()
    while hot:
        region, front = set(), [hot.pop()]
        while front:
            y, x = front.pop()
            region.add((y, x))
            near = hot & {(y + down, x + across) for down in (-1, 0, 1) for across in (-1, 0, 1)}
            hot -= near
            front += near
        ys, xs = zip(*region, strict=True)
        naive.add((min(xs), min(ys), max(xs) + 1, max(ys) + 1))
    assert {
        (box.left, box.top, box.right, box.bottom) for box in find_boxes(rows_of(heat), (40, 30), threshold=0.6)
    } == naive


def test_boxes_of_a_large_photograph_are_off_by_less_than_the_sampling_step(monkeypatch: pytest.MonkeyPatch) -> None:
    heat = np.zeros((201, 303))
    heat[50:120, 33:303] = 1
    monkeypatch.setattr(regions, "_SAMPLE_PIXELS", 4000)  # every 4th pixel
    (box,) = find_boxes(rows_of(heat), (303, 201), threshold=0.5)
    assert abs(box.left - 33) < 4 and abs(box.top - 50) < 4
    assert abs(box.bottom - 120) < 4 and box.right == 303


@pytest.mark.parametrize("value", [-0.1, 1.5, NAN])
def test_thresholds_outside_zero_to_one_are_refused(value: float) -> None:
    with pytest.raises(OptionError, match=f"threshold must be a number from 0 to 1, not {value}"):
        find_boxes(rows_of(np.zeros((4, 4))), (4, 4), threshold=value)
