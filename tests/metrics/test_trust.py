"""The trust score, on networks whose scores and maps are made by hand."""

import json
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from camserve.metrics import trust as module
from camserve.metrics.subject import Float32, Float64, Subject
from camserve.metrics.trust import CANNOT_TELL, DOUBTFUL, FORWARDS, TRUSTED, Trust, hottest_of, trust

# The network looks at 3 x 5 pixels of 10 x 10, rows 2 to 4 and columns 1 to 5; all of them white give 0.95.
PATCH = np.zeros((10, 10), np.float32)
PATCH[2:5, 1:6] = 1


def score(images: Float32) -> Float64:
    said: Float64 = 0.05 + 0.9 * (images[:, 0] * PATCH).sum((1, 2), dtype=np.float64) / 15
    return said


def subject(heat: Float32 = PATCH, **more: Any) -> Subject:
    """Of a white patch on grey."""
    facts: dict[str, Any] = {"score": score, "value": score, "explain": lambda images: images[0, 0], **more}
    return Subject(images=PATCH[None, None], map=heat, heat=heat, **facts)


@pytest.mark.exact
def test_the_map_of_what_the_network_looks_at_is_trusted() -> None:
    found = trust(subject())
    assert found.verdict == TRUSTED
    assert (found.before, *found.kept, *found.removed) == pytest.approx((0.95, 0.95, 0.95, 0.05, 0.05))
    assert found.mirror == pytest.approx(1)
    assert module.signals(found) == pytest.approx((math.log(19), math.atanh(0.999)))
    assert found.forwards == FORWARDS == 6


@pytest.mark.exact
def test_a_map_moved_by_a_third_is_doubtful() -> None:
    """Its 15 pixels lie in rows 5 to 7; of the others, which are equally cold, the first ones count, 15 and 35.

    The 35 end within row 3: of the patch they hold 5 pixels of row 2 and 4 of row 3.
    """
    found = trust(subject(np.roll(PATCH, (3, 3), (0, 1))))
    assert found.verdict == DOUBTFUL
    assert found.kept == pytest.approx((0.05, 0.05 + 0.9 * 9 / 15))
    assert found.removed == pytest.approx((0.95, 0.05 + 0.9 * 6 / 15))
    # patch and moved patch: 15 pixels each of 100, none in both
    assert found.mirror == pytest.approx((0 - 0.15 * 0.15) / (0.15 * 0.85))


@pytest.mark.exact
def test_so_is_one_that_a_method_moves_each_time() -> None:
    """To the right, in the mirror image, too: columns 4 to 8, and, mirrored back, 8 to 2, so one column is in both."""
    moved = np.roll(PATCH, (0, 3), (0, 1))
    found = trust(subject(moved, explain=lambda images: np.roll(images[0, 0], (0, 3), (0, 1))))
    assert found.verdict == DOUBTFUL
    assert found.mirror == pytest.approx((3 / 100 - 0.15 * 0.15) / (0.15 * 0.85))


def test_as_much_is_hidden_elsewhere_in_the_same_shape() -> None:
    hidden: list[Float32] = []

    def asked(images: Float32) -> Float64:
        hidden.extend(image[0] == 0 for image in images)
        return score(images)

    white = Subject(np.ones((1, 1, 10, 10), np.float32), PATCH, PATCH, asked, asked)
    found = trust(white, before=0.95)
    *_, hottest, _, elsewhere = hidden
    down, across = (round(10 * share) for share in module.ELSEWHERE)
    assert np.array_equal(np.roll(hottest, (down, across), (0, 1)), elsewhere)
    assert [mask.sum() for mask in hidden] == [70, 50, 30, 50, 30]
    assert found.without_random == pytest.approx(0.95 - 0.9 * (elsewhere * PATCH).sum() / 15)
    assert (found.mirror, found.forwards) == (None, FORWARDS - 1)  # nothing explains it again


@pytest.mark.parametrize(
    ("heat", "said"),
    [
        (np.ones((4, 4)), "the map is constant: no place matters more than another"),
        (np.zeros((4, 4)), "the map is constant"),
        (np.where(PATCH > 0, np.nan, 0), "values that are not finite"),
    ],
)
def test_a_map_that_is_broken_by_itself_is_doubtful_and_nothing_is_run(heat: Float32, said: str) -> None:
    def never(images: Float32) -> Float64:
        raise AssertionError

    found = trust(subject(heat.astype(np.float32), score=never, explain=never))
    assert (found.verdict, found.probability, found.forwards) == (DOUBTFUL, None, 0)
    assert said in found.sentence


def test_nothing_is_told_of_a_map_without_heat() -> None:
    found = trust(subject(-PATCH))
    assert (found.verdict, found.probability, found.forwards) == (CANNOT_TELL, None, 0)
    assert found.sentence == "cannot tell: the map has no heat: no place speaks for this class"


def test_nothing_is_told_of_a_score_that_has_little_to_lose() -> None:
    found = trust(subject(score=lambda images: score(images) / 200))
    assert (found.verdict, found.probability) == (CANNOT_TELL, None)
    assert found.sentence == "cannot tell: the score is 0.005, too small to show a fall"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "hiding the hottest 30 % drops the score from 0.91 to 0.22; hiding a random 30 % of the same shape "),
        ({"removed": (0.95, 0.5)}, "hiding the hottest 30 % raises the score from 0.91 to 0.95; hiding a random 30 % "),
        ({"removed": (0.9101, 0.5)}, "hiding the hottest 30 % leaves the score at 0.91; hiding a random 30 % of the"),
        ({"mirror": None}, "of the same shape gives 0.88"),
    ],
)
def test_words(change: dict[str, Any], words: str) -> None:
    found = Trust(TRUSTED, 0.97, "", 0.91, (0.8, 0.9), (0.22, 0.1), 0.88, 0.953, 6)
    said = replace(found, **change).sentence
    assert said.startswith("trusted, 0.97: hiding ") and words in said
    assert said.endswith("the mirror image's map agrees by 0.95") == ("mirror" not in change)


def test_the_score_of_the_models_own_crop_is_told_where_it_is_another() -> None:
    found = Trust(TRUSTED, 0.97, "", 0.59, (0.8, 0.9), (0.06, 0.1), 0.39, 0.99, 6, answer=0.953)
    assert found.sentence.endswith(
        "agrees by 0.99; these scores are for the map's input, the answer's 0.95 is for the model's own crop"
    )
    assert replace(found, answer=0.6).sentence.endswith("agrees by 0.99")


def test_the_hottest_pixels_are_as_many_as_asked_whatever_is_equal() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=(7, 9)), rng.integers(0, 3, (7, 9)), np.zeros((7, 9))):
        heat = values.astype(np.float32)
        order = np.argsort(-heat, axis=None, kind="stable")  # equal ones in the order of their rows
        for share, mask in zip(module.SHARES, hottest_of(heat), strict=True):
            count = round(share * heat.size)
            assert np.array_equal(np.sort(order[:count]), np.flatnonzero(mask))


def test_more_agreement_and_more_that_is_lost_give_more_trust() -> None:
    found = trust(subject())
    changes: list[Callable[[float], Trust]] = [
        lambda x: replace(found, mirror=x),
        lambda x: replace(found, kept=(x, x)),
        lambda x: replace(found, removed=(1 - x, 1 - x), mirror=None),
    ]
    for changed in changes:
        chances = [module.judged(changed(x)).probability for x in (0.2, 0.5, 0.8)]
        assert chances == sorted(chances, key=float) and len(set(chances)) == 3  # type: ignore[arg-type]


def test_no_score_and_no_agreement_is_beyond_numbers() -> None:
    extreme = replace(trust(subject()), kept=(0.0, 0.0), removed=(1.0, 1.0), mirror=-1.0)
    judged = module.judged(extreme)
    assert judged.verdict == DOUBTFUL and 0 < (judged.probability or 0) < 0.01


def test_it_travels_as_json_and_as_a_pickle() -> None:
    found = trust(subject())
    assert pickle.loads(pickle.dumps(found)) == found
    facts = json.loads(json.dumps(found.to_dict()))
    assert facts["sentence"] == found.sentence
    assert facts["kept"] == list(found.kept)
