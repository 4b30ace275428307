"""Outlines of hot regions: corners by hand, and the mask bit for bit when they are filled."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import camserve
from camserve.errors import OptionError
from camserve.render import regions
from camserve.render.painting import Rows
from camserve.render.polygons import Polygon, Ring, find_polygons
from camserve.render.regions import find_boxes


def rows_of(heat: npt.ArrayLike) -> Rows:
    """Heat (H, W), anything array-like, as the function that rendering takes."""
    array = np.asarray(heat, dtype=np.float32)
    return lambda first, last: array[first:last]


def rings(heat: npt.ArrayLike, threshold: float = 0.5) -> list[list[Ring]]:
    array = np.asarray(heat)
    return [one.rings for one in find_polygons(rows_of(array), array.shape[::-1], threshold=threshold)]


def filled(polygons: Iterable[Polygon], size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """How often each pixel is enclosed: a side going up adds one to all on its right, one going down takes it."""
    times = np.zeros(size[::-1], int)
    for ring in (ring for polygon in polygons for ring in polygon.rings):
        for (x, y), (_, y_next) in pairwise(ring):
            times[min(y, y_next) : max(y, y_next), x:] += np.sign(y - y_next)
    return times


def area(ring: Ring) -> int:
    """Twice the area: positive where the ring runs clockwise as seen, y down."""
    return sum(x * y_next - x_next * y for (x, y), (x_next, y_next) in pairwise(ring))


def test_a_rectangle_has_four_corners_on_pixel_edges() -> None:
    assert rings([[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]) == [[[[1, 1], [3, 1], [3, 2], [1, 2], [1, 1]]]]


def test_a_hole_is_a_ring_the_other_way_round() -> None:
    ((outline, hole),) = rings([[1, 1, 1], [1, 0, 1], [1, 1, 1]])
    assert outline == [[0, 0], [3, 0], [3, 3], [0, 3], [0, 0]]
    assert hole == [[1, 2], [2, 2], [2, 1], [1, 1], [1, 2]]
    assert (area(outline), area(hole)) == (18, -2)


def test_pixels_that_touch_by_a_corner_share_one_outline() -> None:
    down = [[0, 0], [1, 0], [1, 1], [2, 1], [2, 2], [1, 2], [1, 1], [0, 1], [0, 0]]
    assert rings([[1, 0], [0, 1]]) == [[down]]
    up = [[1, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2], [0, 1], [1, 1], [1, 0]]
    assert rings([[0, 1], [1, 0]]) == [[up]]


def test_an_island_in_a_hole_is_a_polygon_of_its_own() -> None:
    ring = [[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]]
    assert [len(found) for found in rings(ring)] == [2, 1]


def test_nothing_everything_and_unseen() -> None:
    assert rings(np.zeros((3, 4))) == []
    assert rings(np.ones((3, 4))) == [[[[0, 0], [4, 0], [4, 3], [0, 3], [0, 0]]]]
    assert rings([[np.nan, 1.0, np.nan]], 0) == [[[[1, 0], [2, 0], [2, 1], [1, 1], [1, 0]]]]


@pytest.mark.parametrize("seed", range(40))
def test_filling_the_outlines_gives_the_mask_of_random_heat(seed: int) -> None:
    random = np.random.default_rng(seed)
    size = tuple(random.integers(1, 30, 2).tolist())
    heat = random.random(size[::-1], dtype=np.float32)
    found = find_polygons(rows_of(heat), size, threshold=0.6)
    assert np.array_equal(filled(found, size), heat >= 0.6)
    assert [one.box for one in found] == find_boxes(rows_of(heat), size, threshold=0.6)
    for polygon in found:
        x, y = zip(*polygon.rings[0], strict=True)
        box = polygon.box
        assert (min(x), min(y), max(x), max(y)) == (box.left, box.top, box.right, box.bottom)
        assert [area(ring) > 0 for ring in polygon.rings] == [True] + [False] * (len(polygon.rings) - 1)
        assert all(ring[0] == ring[-1] for ring in polygon.rings)


def test_outlines_of_a_large_photograph_end_at_its_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    heat = np.zeros((201, 303))
    heat[50:201, 33:303] = 1
    monkeypatch.setattr(regions, "_SAMPLE_PIXELS", 4000)  # every 4th pixel
    ((ring,),) = rings(heat)
    assert len(ring) == 5
    assert abs(ring[0][0] - 33) < 4 and abs(ring[0][1] - 50) < 4
    assert ring[2] == [303, 201]


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_thresholds_outside_zero_to_one_are_refused(value: float) -> None:
    with pytest.raises(OptionError, match=f"threshold must be a number from 0 to 1, not {value}"):
        find_polygons(rows_of(np.zeros((4, 4))), (4, 4), threshold=value)


def test_an_explanation_s_polygons_enclose_its_mask(model: camserve.Model, cat: Path) -> None:
    explanation = model.explain(cat)
    for threshold in (None, 0.2):
        mask = np.asarray(explanation.mask_image(threshold)) == 255
        assert np.array_equal(filled(explanation.polygons(threshold), explanation.photo.size), mask)
