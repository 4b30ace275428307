"""Infidelity and max-sensitivity: of linear targets, of which everything is known."""

import numpy as np
import pytest
from measured_subjects import subject

from camserve.errors import OptionError
from camserve.metrics.robustness import infidelity, max_sensitivity, squares
from camserve.metrics.subject import Float32

pytestmark = pytest.mark.quick

RANDOM = np.random.default_rng(0)
IMAGE, WEIGHT = RANDOM.normal(size=(2, 3, 12, 16)).astype(np.float32)
WORTH = (WEIGHT * IMAGE).sum(0)  # what each pixel adds to a linear target


def linear(one: Float32) -> float:
    return float((one.astype(np.float64) * WEIGHT).sum()) + 5


def test_heat_that_is_each_pixel_s_worth_has_no_infidelity_whatever_its_unit() -> None:
    assert infidelity(subject(IMAGE, WORTH, linear)) == pytest.approx(0, abs=1e-8)
    assert infidelity(subject(IMAGE, -7 * WORTH, linear)) == pytest.approx(0, abs=1e-8)


def test_infidelity_without_heat_is_the_mean_squared_drop() -> None:
    drops = [WORTH[mask].sum() for mask in squares((12, 16))]
    assert infidelity(subject(IMAGE, WORTH * 0, linear)) == pytest.approx(np.mean(np.square(drops)))


def test_the_factor_is_the_best_there_is() -> None:
    heat = RANDOM.normal(size=WORTH.shape).astype(np.float32)
    sums, drops = np.array([[heat[mask].sum(), WORTH[mask].sum()] for mask in squares((12, 16))]).T
    tried = min(np.mean((factor * sums - drops) ** 2) for factor in np.linspace(-3, 3, 6001))
    assert infidelity(subject(IMAGE, heat, linear)) == pytest.approx(tried, rel=1e-5)


def test_squares_are_a_quarter_of_each_side_and_reach_every_border() -> None:
    masks = squares((12, 16))
    assert masks.shape == (64, 12, 16)
    assert (masks.sum((1, 2)) == 3 * 4).all()
    anywhere = masks.any(0)
    assert anywhere[0].any() and anywhere[-1].any() and anywhere[:, 0].any() and anywhere[:, -1].any()
    assert np.array_equal(masks, squares((12, 16))) and not np.array_equal(masks, squares((12, 16), seed=1))
    assert squares((2, 2)).sum((1, 2)).tolist() == [1] * 64


def test_max_sensitivity_of_a_map_that_is_the_input() -> None:
    """The length of the noise over that of the input: uniform noise of r has r / sqrt(3) a pixel."""
    plain = subject(IMAGE[:1], IMAGE[0], linear, explain=lambda images: images[0, 0])
    expected = 0.02 / np.sqrt(3) * np.sqrt(IMAGE[0].size) / np.linalg.norm(IMAGE[0])
    assert max_sensitivity(plain) == pytest.approx(expected, rel=0.15)
    assert max_sensitivity(plain) >= expected  # the largest of ten
    assert max_sensitivity(plain) == max_sensitivity(plain) != max_sensitivity(plain, seed=1)


def test_noise_is_never_more_than_the_radius() -> None:
    seen: list[np.ndarray] = []

    def same(images: Float32) -> Float32:
        seen.append(images[0])
        return WORTH

    flat = subject(IMAGE, WORTH, linear, explain=same)
    assert max_sensitivity(flat) == 0
    assert len(seen) == 10
    largest = max(np.abs(one - IMAGE).max() for one in seen)
    assert 0.0199 < largest < 0.02 + 1e-6


def test_what_max_sensitivity_cannot_say() -> None:
    with pytest.raises(OptionError, match="the map is 0 everywhere"):
        max_sensitivity(subject(IMAGE, WORTH * 0, linear, explain=lambda images: WORTH))
    assert max_sensitivity(subject(IMAGE, WORTH * 0, linear, explain=lambda images: WORTH * 0)) == 0
    with pytest.raises(OptionError, match="leave sharp out and name one layer"):
        max_sensitivity(subject(IMAGE, WORTH, linear))
