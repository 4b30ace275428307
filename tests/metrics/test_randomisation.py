"""Likeness of maps, and its mean along a cascade: numbers on paper, and SciPy's and scikit-image's."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from camserve.errors import OptionError
from camserve.metrics.baselines import centre, random
from camserve.metrics.randomisation import (
    Likeness,
    cascade,
    cascade_spearman,
    cascade_ssim,
    pearson,
    random_logit,
    spearman,
    ssim,
)

pytestmark = pytest.mark.quick

RANDOM = np.random.default_rng(0)
ONE, OTHER = RANDOM.normal(size=(2, 20, 24))


@pytest.mark.parametrize("likeness", [spearman, pearson, ssim])
def test_a_map_is_like_itself_and_unlike_another(likeness: Likeness) -> None:
    assert likeness(ONE, ONE) == pytest.approx(1)
    assert likeness(ONE, 3 * ONE) == pytest.approx(1)
    assert likeness(ONE, OTHER) == pytest.approx(likeness(OTHER, ONE)) == pytest.approx(0, abs=0.15)


def test_the_opposite_is_minus_1_and_to_ssim_less_than_nothing_in_common() -> None:
    """SSIM multiplies means and covariances: where both are of the other sign, their product is not."""
    assert [spearman(ONE, -ONE), pearson(ONE, -ONE)] == pytest.approx([-1, -1])
    wave = np.cos(2 * np.pi * np.indices((14, 14))[0] / 7)  # its mean over any window is 0
    assert ssim(wave, -wave) < -0.9
    assert ssim(wave + 2, -wave - 2) > 0.5


def test_ranks_by_hand() -> None:
    """1 - 6 sum d^2 / (n (n^2 - 1)), d = 0, 1, 1, 0."""
    assert spearman(np.array([[1.0, 2, 3, 4]]), np.array([[1.0, 3, 2, 4]])) == pytest.approx(1 - 6 * 2 / (4 * 15))


def test_spearman_is_scipy_s_ties_included() -> None:
    ties = np.round(ONE)
    assert spearman(ties, OTHER) == pytest.approx(spearmanr(ties.ravel(), OTHER.ravel())[0], abs=1e-12)
    assert spearman(ONE**3, OTHER) == pytest.approx(spearman(ONE, OTHER))


@pytest.mark.parametrize("likeness", [spearman, pearson])
def test_a_constant_map_is_like_none(likeness: Likeness) -> None:
    assert likeness(np.full((4, 5), 0.1), ONE[:4, :5]) == 0
    assert likeness(np.full((4, 5), 0.1), np.full((4, 5), 0.1)) == 0


def test_ssim_is_scikit_image_s() -> None:
    one, other = ONE / np.abs(ONE).max(), OTHER / np.abs(OTHER).max()
    assert ssim(ONE, OTHER) == pytest.approx(structural_similarity(one, other, data_range=2), abs=1e-12)
    small, like = (values[:5, :9] / np.abs(values[:5, :9]).max() for values in (ONE, OTHER))
    assert ssim(small, like) == pytest.approx(structural_similarity(small, like, data_range=2, win_size=5), abs=1e-12)


def test_ssim_of_one_window_by_hand() -> None:
    """2 x 2: means 0.5 and 0, variances 1/3 and 4/3, covariance 0."""
    one, other = np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[1.0, -1.0], [1.0, -1.0]])
    c1, c2 = 0.02**2, 0.06**2
    assert ssim(one, other) == pytest.approx(c1 * c2 / ((0.25 + c1) * (1 / 3 + 4 / 3 + c2)))


def test_smooth_maps_are_somewhat_alike_whatever_they_show() -> None:
    pairs = [(centre((56, 56)), random((56, 56), seed)) for seed in range(20)]
    assert np.mean([ssim(*pair) for pair in pairs]) > 0.1
    assert np.mean([spearman(*pair) for pair in pairs]) == pytest.approx(0, abs=0.1)


def test_a_cascade_s_number_is_the_mean_over_its_depths() -> None:
    stages = [ONE, -ONE, ONE, OTHER]
    curve = cascade(ONE, stages.__getitem__, 4, spearman)
    assert curve[:3] == pytest.approx([1, -1, 1])
    assert cascade_spearman(ONE, stages.__getitem__, 4) == pytest.approx(curve.mean())
    assert cascade_ssim(ONE, stages.__getitem__, 1) == pytest.approx(1)
    assert random_logit(ONE, stages.__getitem__, 4) == pytest.approx(np.mean([ssim(ONE, one) for one in stages]))


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(OptionError, match="give at least one"):
        cascade_ssim(ONE, lambda stage: ONE, 0)
    with pytest.raises(OptionError, match=r"maps of \(20, 24\) and \(7, 7\) cells"):
        cascade_spearman(ONE, lambda stage: ONE[:7, :7], 1)
