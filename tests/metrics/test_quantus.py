"""Quantus: the same numbers where the definition is one, and valid inputs of which it says something else.

It is no development dependency: it asks for opencv-python, whose files are those of opencv-python-headless, which
pytorch-grad-cam asks for, and which needs libGL. `pip install --no-deps quantus cachetools` beside the others runs
these; the definitions themselves are held on paper by the other files of this folder.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import nn

from camserve.metrics import localisation
from camserve.metrics.baselines import random
from camserve.metrics.complexity import entropy, sparseness
from camserve.metrics.heat import Float, Mask

quantus = pytest.importorskip("quantus", reason="Quantus is not installed")

SHAPE = (14, 16)
HEAT = np.stack([random(SHAPE, seed) for seed in range(3)])
INSIDE = np.stack([random(SHAPE, seed + 5) > 0.6 for seed in range(3)])
QUIET = {"disable_warnings": True, "display_progressbar": False}


def asked(metric: Any, heat: Float = HEAT, inside: Mask = INSIDE) -> Any:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    images = np.random.default_rng(0).normal(size=(len(heat), 3, *SHAPE)).astype(np.float32)
    masks = inside[:, None].astype(float)
    return metric(model=net, x_batch=images, y_batch=np.ones(len(heat), int), a_batch=heat[:, None], s_batch=masks)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("RelevanceMassAccuracy", localisation.energy),
        ("AttributionLocalisation", localisation.energy),
        ("AUC", localisation.pixel_auroc),
        ("PointingGame", localisation.pointing),
        ("Sparseness", lambda heat, inside: sparseness(heat)),
        ("Complexity", lambda heat, inside: entropy(heat)),
    ],
)
def test_the_same_numbers_of_heat_that_is_nowhere_negative(theirs: str, ours: Callable[[Float, Mask], float]) -> None:
    """To 1e-5."""
    figures = asked(getattr(quantus, theirs)(**QUIET))
    assert [float(one) for one in figures] == pytest.approx(
        [ours(*pair) for pair in zip(HEAT, INSIDE, strict=True)], abs=1e-5
    )


def test_it_counts_what_speaks_against_the_class_as_heat() -> None:
    """Sparseness and Complexity take absolute values; ours is of what is drawn, the positive part."""
    signed = HEAT - 0.5
    theirs = float(asked(quantus.Sparseness(**QUIET), signed)[0])
    assert theirs == pytest.approx(sparseness(np.abs(signed[0])), abs=1e-5)
    assert abs(theirs - sparseness(signed[0])) > 0.1


def test_one_of_several_hottest_pixels_is_a_whole_hit_to_it() -> None:
    """Its PointingGame takes the best of equal pixels; ours the share of them that is in the object."""
    halves = np.stack([np.where(np.indices(SHAPE)[0] < 7, 1.0, 0.0)] * 3)
    assert [bool(one) for one in asked(quantus.PointingGame(**QUIET), halves)] == [True] * 3
    assert 0 < localisation.pointing(halves[0], INSIDE[0]) == INSIDE[0][:7].mean() < 1


def test_an_empty_mask_is_a_hit_in_its_pointing_game() -> None:
    """NaN put into an array of bools is True. Ours refuses: see test_localisation.py."""
    assert [bool(one) for one in asked(quantus.PointingGame(**QUIET), inside=INSIDE & False)] == [True] * 3


def test_its_monotonicity_is_true_of_every_map() -> None:
    """It replaces pixels of a black image by black, so no score ever falls. We have no such metric."""
    for heat in (HEAT, 1 - HEAT):
        assert [bool(one) for one in asked(quantus.Monotonicity(features_in_step=14, **QUIET), heat)] == [True] * 3


def test_its_road_and_irof_fail_on_colour_images() -> None:
    with pytest.raises(IndexError, match="out of bounds"):
        asked(quantus.ROAD(**QUIET))
    with pytest.raises(AssertionError, match="same as the mask shape"):
        asked(quantus.IROF(**QUIET))


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:Ratio is smaller")
def test_its_weighted_localisation_depends_on_the_other_images_of_the_batch() -> None:
    weighted = quantus.AttributionLocalisation(weighted=True, **QUIET)
    together, alone = asked(weighted), asked(weighted, HEAT[:1], INSIDE[:1])
    assert abs(float(together[0]) - float(alone[0])) > 0.01
    with pytest.raises(TypeError, match="boolean array indexing"):
        asked(quantus.PointingGame(weighted=True, **QUIET))


def test_its_pixel_flipping_takes_values_of_channels_not_pixels() -> None:
    """28 at a time are 24 steps of 3 x 14 x 16 values, not 8 of 14 x 16 pixels."""
    curves = asked(quantus.PixelFlipping(features_in_step=28, **QUIET))
    assert len(curves[0]) == 3 * 14 * 16 / 28
