"""Trust of real explanations: a network that looks for red, by whatever method, and what cannot be told."""

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import picture
from test_sharp import RedNet, load, square

import camserve
from camserve.explain import open_photo
from camserve.explain.questioned import score_of, subject_of
from camserve.explain.trusting import disagrees, trust_of
from camserve.metrics.trust import CANNOT_TELL, DOUBTFUL, FORWARDS, TRUSTED

PHOTO = square((64, 64), 16, 16, 24, on=(20, 20, 20))


class Surer(RedNet):
    """The same, and sure of what it says."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.fc.weight.mul_(30)


@pytest.fixture(scope="module")
def red() -> camserve.Model:
    return load(Surer())


def test_the_map_of_red_is_trusted_and_the_same_moved_is_not(red: camserve.Model) -> None:
    found = red.explain(PHOTO, trust=True)
    assert found.class_name == "red" and found.trust is not None
    assert (found.trust.verdict, found.trust.forwards) == (TRUSTED, FORWARDS)
    assert found.trust.mirror == pytest.approx(1, abs=1e-6)
    assert found.trust.before == pytest.approx(1 / (1 + np.exp(found.logits[1] - found.logits[0])), abs=1e-6)
    moved = replace(found.attribution, map=np.roll(found.map, (2, 2), (0, 1)))
    assert trust_of(red, moved, open_photo(red, PHOTO)).verdict == DOUBTFUL
    other = red.explain(PHOTO, target="blue", trust=True).trust
    assert other is not None and other.verdict == CANNOT_TELL  # nothing speaks for it


def test_a_map_that_does_not_add_up_to_its_logit_is_doubtful(red: camserve.Model) -> None:
    photo = open_photo(red, PHOTO)
    for target in ("red", "red-blue", "-blue"):
        found = red.explain(photo, target=target).attribution
        assert not disagrees(found)
        said = trust_of(red, replace(found, map=1.01 * found.map), photo)
        assert (said.verdict, said.forwards, said.reason[:22]) == (DOUBTFUL, 0, "map and logit disagree")
    for options in ({"method": "gradcam++"}, {"sharp": True}, {"output_stride": 8}, {"quantity": "log-softmax"}):
        found = red.explain(photo, **options).attribution
        assert not disagrees(replace(found, map=2 * found.map))  # nothing says what it must add up to


def test_nobody_is_told_who_does_not_ask(red: camserve.Model) -> None:
    plain, asked = red.explain(PHOTO), red.explain(PHOTO, trust=True)
    assert plain.trust is None and plain.to_dict()["trust"] is None
    assert asked.to_dict()["trust"] == asked.trust.to_dict()
    assert np.array_equal(plain.map, asked.map)
    assert pickle.loads(pickle.dumps(asked)).trust == asked.trust


def test_each_class_has_its_own_and_the_same_each_time(red: camserve.Model) -> None:
    both = red.explain_classes(PHOTO, ["red", "red-blue"], trust=True)
    assert [one.trust for one in both] == [
        red.explain(PHOTO, target=one, trust=True).trust for one in ("red", "red-blue")
    ]
    one, other = (explanation.trust for explanation in both)
    assert one is not None and other is not None
    assert one.removed == pytest.approx(other.removed)  # of two classes the score is that of the one against the other


@pytest.mark.parametrize(
    ("options", "forwards"),
    [
        ({"method": "gradcam"}, FORWARDS),
        ({"method": "layercam", "layer": "fine"}, FORWARDS),
        ({"method": "scorecam"}, FORWARDS - 1),  # a forward for each channel: not once more for the mirror image
        ({"sharp": True}, FORWARDS - 1),
        ({"method": "layercam", "layer": "fine,coarse"}, FORWARDS - 1),
    ],
)
def test_what_is_dear_is_not_explained_again(red: camserve.Model, options: dict[str, Any], forwards: int) -> None:
    found = red.explain(PHOTO, trust=True, **options).trust
    assert found is not None
    assert (found.verdict, found.forwards) == (TRUSTED, forwards)
    assert (found.mirror is None) == (forwards < FORWARDS)


@pytest.mark.parametrize("target", ["red", "blue", "red-blue", "-blue"])
def test_the_score_is_known_from_the_logits(red: camserve.Model, target: str) -> None:
    found = red.explain(PHOTO, target=target).attribution
    subject = subject_of(red, found, open_photo(red, PHOTO))
    assert score_of(red, found) == pytest.approx(subject.own_score, rel=1e-5)


def test_what_has_no_probability_cannot_be_told(red: camserve.Model) -> None:
    said = {
        "function": red.explain(PHOTO, target=lambda logits: logits.sum(1), trust=True).trust,
        "likeness": red.explain(PHOTO, target=picture(), trust=True).trust,
        "numbers": camserve.load(RedNet(), size=64, scores="none").explain(PHOTO, trust=True).trust,
    }
    reasons = {name: found.sentence for name, found in said.items() if found is not None and found.forwards == 0}
    assert reasons == {
        "function": "cannot tell: the target is the caller's own function, not a probability",
        "likeness": "cannot tell: the likeness of two photographs is not a probability",
        "numbers": "cannot tell: the model gives numbers, not scores",
    }
