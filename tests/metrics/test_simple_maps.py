"""Complexity and the baselines that every figure stands beside: numbers on paper."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from camserve.metrics import baselines
from camserve.metrics.complexity import entropy, sparseness
from camserve.metrics.heat import Float

pytestmark = pytest.mark.quick

DOT = np.eye(1, 10).reshape(2, 5)


def test_sparseness_is_0_of_a_uniform_map_and_nearly_1_of_a_dot() -> None:
    assert sparseness(baselines.uniform((4, 5))) == sparseness(np.zeros((4, 5))) == sparseness(-DOT) == 0
    assert sparseness(DOT) == pytest.approx(1 - 1 / 10)
    assert sparseness(np.array([[1.0, 2.0, 3.0]])) == pytest.approx((-2 * 1 + 0 * 2 + 2 * 3) / (3 * 6))


def test_entropy_counts_pixels() -> None:
    assert entropy(DOT) == 0
    assert entropy(baselines.uniform((4, 5))) == entropy(np.zeros((4, 5))) == pytest.approx(np.log(20))
    assert np.exp(entropy(np.array([[3.0, 3.0, 0.0, -9.0, np.nan]]))) == pytest.approx(2)


@pytest.mark.parametrize("metric", [sparseness, entropy])
def test_neither_depends_on_scale_or_order(metric: Callable[[Float], float]) -> None:
    heat = baselines.random((6, 8))
    shuffled = np.random.default_rng(1).permutation(heat.ravel()).reshape(8, 6)
    assert metric(5 * heat) == pytest.approx(metric(heat)) == pytest.approx(metric(shuffled))


def test_the_centre_is_symmetric_and_a_quarter_wide() -> None:
    heat = baselines.centre((9, 17))
    assert heat[4, 8] == heat.max() == 1
    assert np.array_equal(heat, heat[::-1]) and np.array_equal(heat, heat[:, ::-1])
    assert heat[4, 8 + 4] == pytest.approx(np.exp(-((4 / (17 / 4)) ** 2) / 2))


def test_random_is_seven_cells_each_way_as_pillow_resizes_them() -> None:
    heat = baselines.random((50, 70), seed=3)
    noise = np.random.default_rng(3).random((7, 7), np.float32)
    resized = np.asarray(Image.fromarray(noise).resize((70, 50), Image.Resampling.BILINEAR))
    assert heat == pytest.approx(resized, abs=1e-6)
    assert not np.array_equal(heat, baselines.random((50, 70), seed=4))
    assert set(baselines.BASELINES) == {"centre", "uniform", "random"}
