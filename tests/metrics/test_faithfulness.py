"""Metrics of faithfulness: scores that count pixels, so that every area is known on paper."""

import numpy as np
import pytest
from measured_subjects import subject
from scipy.ndimage import gaussian_filter

from camserve.errors import OptionError
from camserve.metrics.baselines import uniform
from camserve.metrics.faithfulness import (
    adcc,
    average_drop,
    blurred,
    completeness,
    deletion,
    gain,
    increase,
    insertion,
    road,
)
from camserve.metrics.imputation import impute
from camserve.metrics.subject import Float32

pytestmark = pytest.mark.quick

# 224 pixels, half of them the object: each step of RISE is one pixel.
IMAGE = np.random.default_rng(0).normal(3, 1, (3, 14, 16)).astype(np.float32)
OBJECT = np.zeros((14, 16), bool)
OBJECT[:, :8] = True
# Four rows: the upper two hot, the lower two half as hot.
ONES, HALF = np.ones((2, 4, 4), np.float32), np.repeat([2.0, 1.0], 2)[:, None] * np.ones((4, 4))


def kept(one: Float32) -> float:
    """The share of the object's pixels that are as they were."""
    return float((one == IMAGE).all(0)[OBJECT].mean())


def test_the_object_first_is_a_quarter_and_three_quarters() -> None:
    """A half of the steps takes the score from 1 to 0 or back, and the other half changes nothing."""
    first, last = subject(IMAGE, OBJECT, kept), subject(IMAGE, ~OBJECT, kept)
    assert deletion(first) == pytest.approx(0.25)
    assert insertion(first) == pytest.approx(0.75)
    assert deletion(last) == pytest.approx(0.75)
    assert insertion(last) == pytest.approx(0.25)


def test_a_uniform_map_takes_pixels_in_a_seeded_order_not_row_by_row() -> None:
    flat = subject(IMAGE, uniform(OBJECT.shape), kept)
    assert deletion(flat) == deletion(flat) == pytest.approx(0.5, abs=0.05)
    rows = np.zeros_like(OBJECT)
    rows[:7] = True
    top = subject(IMAGE, uniform(OBJECT.shape), lambda one: float((one == IMAGE).all(0)[rows].mean()))
    assert deletion(top) == pytest.approx(0.5, abs=0.05)  # 0.25 if the upper rows went first


def test_areas_do_not_depend_on_scale_sign_shift_or_batch() -> None:
    heat = np.random.default_rng(1).normal(size=OBJECT.shape)
    value = deletion(subject(IMAGE, heat, kept))
    assert deletion(subject(IMAGE, 5 * heat - 100, kept, batch=1)) == value
    assert deletion(subject(IMAGE, -heat, kept)) == pytest.approx(1 - value)
    assert deletion(subject(IMAGE, np.where(heat == heat.max(), np.nan, heat), kept)) != value  # NaN is as 0


def test_the_first_and_last_input_are_those_of_the_paper() -> None:
    seen: list[np.ndarray] = []

    def remembered(one: Float32) -> float:
        seen.append(one.copy())
        return 0.0

    deletion(subject(IMAGE, OBJECT, remembered))
    assert np.array_equal(seen[0], IMAGE) and not seen[-1].any() and len(seen) == 225
    seen.clear()
    insertion(subject(IMAGE, OBJECT, remembered))
    assert np.array_equal(seen[0], blurred(IMAGE[None])[0]) and np.array_equal(seen[-1], IMAGE) and len(seen) == 225


def test_the_blur_is_rise_s_kernel() -> None:
    """RISE's code filters a point of 11 x 11 pixels with scipy, which reflects at the kernel's own edges."""
    point = np.zeros((1, 1, 31, 31), np.float32)
    point[0, 0, 15, 15] = 1
    kernel = np.zeros((11, 11))
    kernel[5, 5] = 1
    assert blurred(point)[0, 0, 10:21, 10:21] == pytest.approx(gaussian_filter(kernel, 5.0), abs=1e-7)
    assert blurred(point).sum() == pytest.approx(1, abs=1e-5)
    assert blurred(np.ones((1, 1, 31, 31), np.float32))[0, 0, 0, 15] < 0.6  # zeros beyond the edge


def test_drop_gain_and_increase_by_hand() -> None:
    """Shown through the map 1 and 1/2, ones have a mean of 3/4."""
    falls = subject(ONES, HALF, lambda one: float(one.mean()))
    assert (average_drop(falls), increase(falls), gain(falls)) == (0.25, 0, 0)
    rises = subject(ONES, HALF, lambda one: 1 - float(one.mean()) / 2)
    assert (average_drop(rises), increase(rises), gain(rises)) == (0, 1, 0.25)


def test_a_uniform_map_changes_nothing_and_no_heat_hides_all() -> None:
    flat = subject(ONES, HALF * 0 + 3, lambda one: float(one.mean()))
    assert (average_drop(flat), increase(flat), gain(flat)) == (0, 0, 0)
    assert average_drop(subject(ONES, -HALF, lambda one: float(one.mean()))) == 1


def test_scores_at_the_ends_divide_by_nothing() -> None:
    assert average_drop(subject(ONES, HALF, lambda one: 0.0)) == 0
    assert gain(subject(ONES, HALF, lambda one: 1.0)) == 0


def test_adcc_by_hand() -> None:
    """Coherency 1, complexity 3/4, average drop 1/4: 3 / (1 + 4 + 4/3)."""
    coherent = subject(ONES, HALF, lambda one: float(one.mean()), explain=lambda images: images[0, 0])
    assert adcc(coherent) == pytest.approx(9 / 19)
    against = subject(ONES, HALF, lambda one: float(one.mean()), explain=lambda images: 2 - images[0, 0])
    assert adcc(against) == 0  # the map of what is shown is the opposite
    flat = subject(ONES, uniform((4, 4)), lambda one: float(one.mean()), explain=lambda images: images[0, 0])
    assert adcc(flat) == 0  # its complexity is 1


def test_adcc_needs_maps_of_other_inputs() -> None:
    with pytest.raises(OptionError, match="leave sharp out and name one layer"):
        adcc(subject(ONES, HALF, lambda one: 1.0))


def test_road_by_hand() -> None:
    """Of 10, 20 .. 90 %: hottest first keeps 2/9 of the object on average, coldest first 7/9."""
    image = np.random.default_rng(2).normal(size=(3, 10, 10)).astype(np.float32)
    left = np.zeros((10, 10), bool)
    left[:, :5] = True
    score = lambda one: float((one == image).all(0)[left].mean())  # noqa: E731
    assert road(subject(image, left, score)) == pytest.approx((7 / 9 - 2 / 9) / 2)
    assert road(subject(image, ~left, score)) == pytest.approx((2 / 9 - 7 / 9) / 2)


def test_road_is_the_same_every_time() -> None:
    noisy = subject(IMAGE, OBJECT, lambda one: float(one.sum()))
    assert road(noisy) == road(noisy)


def test_a_pixel_is_the_weighted_mean_of_its_neighbours() -> None:
    image = np.array([[[1.0, 2.0, 4.0], [6.0, 99.0, 3.0], [5.0, 7.0, 8.0]]])
    middle, corner = np.zeros((3, 3), bool), np.zeros((3, 3), bool)
    middle[1, 1] = corner[0, 0] = True
    filled = impute(image, middle, noise=0)
    assert filled[0, 1, 1] == pytest.approx((2 + 6 + 3 + 7) / 6 + (1 + 4 + 5 + 8) / 12)
    assert np.array_equal(filled[0][~middle], image[0][~middle])
    assert impute(image, corner, noise=0)[0, 0, 0] == pytest.approx((2 + 6 + 99 / 2) / 2.5)


def test_neighbours_that_are_gone_are_unknowns_too() -> None:
    """In one row of 0, ?, ?, 3 each is the mean of those beside it; a slope is found again exactly."""
    image = np.array([[[0.0, 9.0, 9.0, 3.0]]])
    gone = np.array([[False, True, True, False]])
    assert impute(image, gone, noise=0)[0, 0] == pytest.approx([0, 1, 2, 3])
    slope = np.add.outer(2.0 * np.arange(9), np.arange(12))[None]
    hole = np.zeros((9, 12), bool)
    hole[2:7, 3:9] = True
    assert impute(np.where(hole, 50.0, slope), hole, noise=0) == pytest.approx(slope, abs=1e-5)


def test_noise_is_a_hundredth_seeded_and_on_imputed_pixels_only() -> None:
    image, gone = np.zeros((3, 40, 40)), np.zeros((40, 40), bool)
    gone[5:35, 5:35] = True
    filled = impute(image, gone, seed=1)
    assert filled[:, gone].std() == pytest.approx(0.01, rel=0.05)
    assert not filled[:, ~gone].any()
    assert np.array_equal(filled, impute(image, gone, seed=1)) and not np.array_equal(filled, impute(image, gone, 2))
    with pytest.raises(OptionError, match="every pixel is removed"):
        impute(image, gone | True)


def test_completeness_by_hand() -> None:
    """The map's mean is 1.5: with 0.25 it is 1.75, an eighth off 2."""
    assert completeness(subject(ONES, HALF, lambda one: 2.0, bias=0.25)) == 0.125
    assert completeness(subject(ONES, HALF, lambda one: -2.0, bias=-3.5)) == 0
    assert completeness(subject(ONES, HALF, lambda one: 2.0)) is None
    with pytest.raises(OptionError, match="the target is exactly 0"):
        completeness(subject(ONES, HALF, lambda one: 0.0, bias=0.25))
