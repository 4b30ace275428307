"""The map as it is drawn: equal at the centres of its cells, never beyond its neighbours, without folds between."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from camserve.geometry.frame import Frame, Placement
from camserve.geometry.smoothing import smoothed

GRID = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)


def placed(grid_map: npt.NDArray[Any]) -> Placement:
    height, width = grid_map.shape
    return Placement(Frame((320, 240), (0, 0, 320, 240), (224, 168)), (width, height), (32, 32), (15.5, 15.5))


def test_it_is_exact_at_the_centres_of_cells() -> None:
    finer, place = smoothed(GRID, placed(GRID))
    assert (finer.shape, str(finer.dtype), place.grid) == ((65, 97), "float32", (97, 65))
    assert np.array_equal(finer[::16, ::16], GRID)
    assert place.cell_centre(16 * 3, 16 * 2) == placed(GRID).cell_centre(3, 2)


def test_between_two_cells_it_is_between_them() -> None:
    finer, _ = smoothed(GRID, placed(GRID))
    for v in range(4):
        for u in range(6):
            around, inside = GRID[v : v + 2, u : u + 2], finer[16 * v : 16 * v + 17, 16 * u : 16 * u + 17]
            assert around.min() <= inside.min()
            assert inside.max() <= around.max()


def test_numbers_on_paper() -> None:
    """Rises 1, 3, 0: slopes 0 at the ends, min(2, 6, 2) = 2 at the second, 0 at the third; Hermite at the half."""
    finer, _ = smoothed(np.array([[0, 1, 4, 4]], np.float32), placed(np.zeros((1, 4))))
    # (y0 + y1) / 2 + (m0 - m1) / 8
    assert finer[0, [8, 24, 40]].tolist() == [0.5 - 0.25, 2.5 + 0.25, 4]


def test_a_straight_line_stays_straight_and_a_fold_goes() -> None:
    line = np.arange(8, dtype=np.float32)[None]
    assert smoothed(line, placed(line))[0][0, 16:-16] == pytest.approx(np.arange(16, 97) / 16)
    roof = np.array([[0, 1, 2, 1, 0]], np.float32)
    steps = np.diff(smoothed(roof, placed(roof))[0][0])
    assert np.abs(np.diff(steps)).max() < 0.4 * (2 / 16)  # linear interpolation turns by 2 / 16 at the ridge


def test_fine_maps_and_single_cells_stay_as_they_are() -> None:
    for shape in ((1, 1), (512, 600)):
        grid_map = np.ones(shape, np.float32)
        finer, place = smoothed(grid_map, placed(grid_map))
        assert np.array_equal(finer, grid_map)
        assert place.grid == shape[::-1]
    assert smoothed(np.zeros((224, 224), np.float32), placed(np.zeros((224, 224))))[0].shape == (670, 670)
